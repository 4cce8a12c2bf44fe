// What the user has marked, as a list of steps that can be undone. Nothing here draws or runs the model.

export const INCLUDE = 1;
export const EXCLUDE = 0;

const tenth = (value) => Math.round(value * 10) / 10; // so that the prompt that is shown is exactly the one that is asked

export class Prompts {
  constructor() {
    this.steps = [];
  }

  get isEmpty() {
    return !this.steps.length;
  }

  /** {points: [[x, y], ...], labels: [1 or 0, ...], box: [x0, y0, x1, y1] or null}, in pixels of the photo. */
  get current() {
    const points = this.steps.filter((step) => step.point);
    return {
      points: points.map((step) => step.point),
      labels: points.map((step) => step.label),
      box: this.steps.findLast((step) => step.box)?.box ?? null,
    };
  }

  addPoint(x, y, label) {
    this.steps.push({ point: [tenth(x), tenth(y)], label });
  }

  /** Two opposite corners; a new box replaces an earlier one. */
  addBox([x0, y0], [x1, y1]) {
    const box = [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)];
    this.steps.push({ box: box.map(tenth) });
  }

  undo() {
    this.steps.pop();
  }

  clear() {
    this.steps = [];
  }
}

/**
 * Which of the four masks to show: for one point the best of the three candidates, since a point alone can mean a part, an
 * object or a group; for any other prompt 0, the single mask.
 */
export function automaticMask({ points, box }, scores) {
  if (box || points.length > 1) return 0;
  return 1 + scores.slice(1).indexOf(Math.max(...scores.slice(1)));
}
