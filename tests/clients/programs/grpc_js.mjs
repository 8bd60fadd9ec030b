// @grpc/grpc-js, with the protos as they are: node grpc_js.mjs PROTOS
import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { report } from "./report.mjs";

const options = { includeDirs: [process.argv[2]], longs: String, defaults: true };
const protos = loadSync("vae/v1/vae_service.proto", options);
const { VaeService } = grpc.loadPackageDefinition(protos).vae.v1;

await report(async (task) => {
  const client = new VaeService(task.address, grpc.credentials.createInsecure());
  const ask = (method, request) =>
    new Promise((resolve, reject) =>
      client[method](request, (error, response) => (error ? reject(error) : resolve(response))),
    );
  const tensor = (data, shape) => ({ dtype: "DATA_TYPE_FLOAT32", shape, data: Buffer.from(data, "base64") });
  const names = async () => (await ask("listModels", {})).models.map((model) => model.model.name);
  const { count, seed } = task;
  const endless = { sample: { count: task.endlessRows, seed } };

  const models = await names();
  const sample = await ask("sample", { count, seed });
  const encoded = await ask("encode", { images: { tensor: tensor(task.images, task.imageShape) } });
  const decoded = await ask("decode", { latents: tensor(task.latents, task.latentShape) });
  const parts = [];
  const ten = { sample: { count: task.streamRows, seed }, rowsPerResponse: task.rowsPerResponse };
  for await (const part of client.sampleStream(ten)) parts.push(part);

  const missing = await errorOf(() => ask("sample", { model: { name: task.nobody }, count, seed }));
  const wrong = await errorOf(() => ask("sample", { count: 0 }));
  const late = await errorOf(async () => {
    for await (const _ of client.sampleStream(endless, { deadline: Date.now() + task.deadlineMs }));
  });
  let messages = 0;
  const left = await errorOf(async () => {
    const stream = client.sampleStream(endless);
    for await (const _ of stream) {
      messages += 1;
      stream.cancel();
    }
  });

  return {
    models,
    digest: sample.model.digest,
    seed: sample.seed,
    images: sample.images.tensor.data.toString("base64"),
    mean: encoded.mean.data.toString("base64"),
    logVar: encoded.logVar.data.toString("base64"),
    decoded: decoded.images.tensor.data.toString("base64"),
    firstRows: parts.map((part) => Number(part.firstRow)),
    streamed: parts.map((part) => part.images.tensor.data.toString("base64")),
    missing,
    wrong,
    late,
    left: { ...left, messages },
    afterwards: await names(),
  };
});

async function errorOf(call) {
  try {
    await call();
  } catch (error) {
    const [status] = error.metadata?.get("grpc-status-details-bin") ?? [];
    return { code: grpc.status[error.code], message: error.details, status: status?.toString("base64") };
  }
  return { code: "none" };
}
