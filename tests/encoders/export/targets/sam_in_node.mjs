// Ask @huggingface/transformers for masks: node sam_in_node.mjs PACKAGE MODELS NAME PHOTO PROMPTS OUT
// PROMPTS is json, a list of {points: [[x, y], ...], labels: [...]}; OUT becomes a folder of raw arrays and sizes.json.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [package_, models, name, photo, prompts, out] = process.argv.slice(2);
const entry = pathToFileURL(join(package_, 'dist', 'transformers.node.mjs'));
const { env, SamModel, AutoProcessor, RawImage } = await import(entry);
env.allowRemoteModels = false;
env.localModelPath = models;

const model = await SamModel.from_pretrained(name, { dtype: 'fp32' });
const processor = await AutoProcessor.from_pretrained(name);
const image = await RawImage.read(photo);
mkdirSync(out, { recursive: true });
const save = (file, tensor) => writeFileSync(join(out, file), Buffer.from(tensor.data.buffer, tensor.data.byteOffset, tensor.data.byteLength));

let sizes;
for (const [index, { points, labels }] of JSON.parse(prompts).entries()) {
    const inputs = await processor(image, { input_points: [points], input_labels: [labels] });
    sizes = { original: inputs.original_sizes, reshaped: inputs.reshaped_input_sizes };
    const outputs = await model(inputs);
    const masks = await processor.post_process_masks(outputs.pred_masks, inputs.original_sizes, inputs.reshaped_input_sizes);
    save(`masks${index}.bin`, masks[0]);
    const embeddings = await model.get_image_embeddings(inputs);
    const all = await model.forward({ input_points: inputs.input_points, input_labels: inputs.input_labels, ...embeddings });
    const single = await processor.post_process_masks(all.single_pred_masks, inputs.original_sizes, inputs.reshaped_input_sizes);
    save(`single${index}.bin`, single[0]);
    save('pixels.bin', inputs.pixel_values);
}
writeFileSync(join(out, 'sizes.json'), JSON.stringify(sizes));
