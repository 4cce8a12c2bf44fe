// The worker as functions that return promises.

export class Engine {
  /** onProgress(share) is called while the model loads, onCrash(reason) when the worker stops working. */
  constructor({ onProgress, onCrash }) {
    this.waiting = new Map();
    this.next = 0;
    this.worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data }) => {
      if (data.progress !== undefined) return onProgress(data.progress);
      const { resolve, reject } = this.waiting.get(data.id);
      this.waiting.delete(data.id);
      return data.error === undefined ? resolve(data.result) : reject(new Error(data.error));
    };
    this.worker.onerror = (event) => {
      event.preventDefault();
      const reason = event.message || "the worker's script cannot be loaded";
      for (const { reject } of this.waiting.values()) reject(new Error(reason));
      this.waiting.clear();
      onCrash(reason);
    };
  }

  call(type, given = {}) {
    return new Promise((resolve, reject) => {
      const id = this.next++;
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, type, ...given });
    });
  }
}
