// What every client is asked to show, with the Connect project's client for ECMAScript over whatever transport.
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { base64Decode, base64Encode } from "@bufbuild/protobuf/wire";
import { VaeService } from "./gen/vae/v1/vae_service_pb.js";
import { DataType } from "./gen/vae/v1/tensors_pb.js";

export async function calls(transport, task) {
  const client = createClient(VaeService, transport);
  const tensor = (data, shape) => ({ dtype: DataType.FLOAT32, shape: shape.map(BigInt), data: base64Decode(data) });
  const names = async () => (await client.listModels({})).models.map((model) => model.model.name);
  const count = BigInt(task.count);
  const seed = BigInt(task.seed);
  const endless = { sample: { count: BigInt(task.endlessRows), seed } };

  const models = await names();
  const sample = await client.sample({ count, seed });
  const image = { case: "tensor", value: tensor(task.images, task.imageShape) };
  const encoded = await client.encode({ images: { content: image } });
  const decoded = await client.decode({ latents: tensor(task.latents, task.latentShape) });
  const parts = [];
  const ten = { sample: { count: BigInt(task.streamRows), seed }, rowsPerResponse: BigInt(task.rowsPerResponse) };
  for await (const part of client.sampleStream(ten)) parts.push(part);

  const missing = await errorOf(() => client.sample({ model: { name: task.nobody }, count, seed }));
  const wrong = await errorOf(() => client.sample({ count: 0n }));
  const late = await errorOf(async () => {
    for await (const _ of client.sampleStream(endless, { timeoutMs: task.deadlineMs }));
  });
  const leaving = new AbortController();
  let messages = 0;
  const left = await errorOf(async () => {
    for await (const _ of client.sampleStream(endless, { signal: leaving.signal })) {
      messages += 1;
      leaving.abort();
    }
  });

  return {
    models,
    digest: sample.model.digest,
    seed: String(sample.seed),
    images: base64Encode(sample.images.content.value.data),
    mean: base64Encode(encoded.mean.data),
    logVar: base64Encode(encoded.logVar.data),
    decoded: base64Encode(decoded.images.content.value.data),
    firstRows: parts.map((part) => Number(part.firstRow)),
    streamed: parts.map((part) => base64Encode(part.images.content.value.data)),
    missing,
    wrong,
    late,
    left: { ...left, messages },
    afterwards: await names(),
  };
}

// So many streams at the same time; once each has given a message, all are left.
export async function manyStreams(transport, task) {
  const client = createClient(VaeService, transport);
  const leaving = new AbortController();
  const endless = { sample: { count: 10n ** 7n, seed: 1n } };
  const { models } = await client.listModels({});
  const streams = Array.from({ length: task.streams }, () => client.sampleStream(endless, leaving));
  const first = await Promise.all(streams.map((stream) => stream[Symbol.asyncIterator]().next()));
  leaving.abort();
  return { models: models.map((model) => model.model.name), open: first.filter((result) => !result.done).length };
}

async function errorOf(call) {
  try {
    await call();
  } catch (thrown) {
    const error = ConnectError.from(thrown);
    const details = error.details.map((detail) => [detail.type, base64Encode(detail.value)]);
    return { code: Code[error.code], message: error.rawMessage, details };
  }
  return { code: "none" };
}
