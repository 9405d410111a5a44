// npm install onnxruntime-web    (or onnxruntime-node)
import { readFileSync } from "node:fs";
import * as ort from "onnxruntime-web";

const session = await ort.InferenceSession.create(readFileSync("model.onnx"));
const test = JSON.parse(readFileSync("self_test.json", "utf-8"));
const size = test.state_size;
let state = new ort.Tensor("float32", new Float32Array(size), [1, size]); // nothing was said
let logits;
for (const id of test.tokens) {
  const token = new ort.Tensor("int32", [id], [1]);
  ({ logits, next_state: state } = await session.run({ token, state })); // the state is carried on
}
const off = Math.max(...test.at.map((id, n) => Math.abs(logits.data[id] - test.logits[n])));
if (!(off <= test.tolerance)) throw new Error(`off by ${off}: is the state carried on?`);
console.log(`passed: off by ${off.toExponential(1)}`);
