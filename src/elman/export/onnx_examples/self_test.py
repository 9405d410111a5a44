# pip install onnxruntime numpy
import json
from pathlib import Path

import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
test = json.loads(Path("self_test.json").read_text("utf-8"))
state = np.zeros((1, test["state_size"]), np.float32)  # nothing was said; then never again
for token in test["tokens"]:
    given = {"token": np.array([token], np.int32), "state": state}
    logits, state = session.run(["logits", "next_state"], given)  # the state is carried on
off = np.abs(logits[0, test["at"]] - test["logits"]).max()
if not off <= test["tolerance"]:
    raise SystemExit(f"failed: off by {off:.4f}; is the state carried on from step to step?")
print(f"passed: off by {off:.1e}")
