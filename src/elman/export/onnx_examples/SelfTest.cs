// dotnet add package Microsoft.ML.OnnxRuntime
using System; using System.IO; using System.Linq; using System.Text.Json;
using Microsoft.ML.OnnxRuntime; using Microsoft.ML.OnnxRuntime.Tensors;

using var session = new InferenceSession("model.onnx");
var test = JsonDocument.Parse(File.ReadAllText("self_test.json")).RootElement;
var state = new DenseTensor<float>(new[] { 1, test.GetProperty("state_size").GetInt32() }); // nothing was said
float[] logits = Array.Empty<float>();
foreach (var id in test.GetProperty("tokens").EnumerateArray().Select(id => id.GetInt32())) {
    var token = new DenseTensor<int>(new[] { id }, new[] { 1 });
    using var found = session.Run(new[] { NamedOnnxValue.CreateFromTensor("token", token), NamedOnnxValue.CreateFromTensor("state", state) });
    logits = found.First(each => each.Name == "logits").AsTensor<float>().ToArray();
    var next = found.First(each => each.Name == "next_state").AsTensor<float>().ToArray();
    state = new DenseTensor<float>(next, new[] { 1, next.Length }); // the state is carried on
}
var expected = test.GetProperty("logits").EnumerateArray().Select(each => each.GetSingle());
var off = test.GetProperty("at").EnumerateArray().Select(id => logits[id.GetInt32()]).Zip(expected, (a, b) => Math.Abs(a - b)).Max();
if (!(off <= test.GetProperty("tolerance").GetSingle())) throw new Exception($"off by {off}: is the state carried on?");
Console.WriteLine($"passed: off by {off}");
