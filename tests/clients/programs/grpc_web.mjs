// npm's grpc-web, the gRPC project's client for pages. Its own generator is no package, so the messages are those of
// @bufbuild/protobuf. In base64, for in binary it gives a stream's messages when the stream has ended.
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { base64Decode, base64Encode } from "@bufbuild/protobuf/wire";
import { GrpcWebClientBase, MethodDescriptor, MethodType, StatusCode } from "grpc-web";
import { VaeService } from "./gen/vae/v1/vae_service_pb.js";
import { DataType } from "./gen/vae/v1/tensors_pb.js";

export async function grpcWebCalls(task) {
  const client = new GrpcWebClientBase({ format: "text", maxReceiveMessageSize: 0 });
  const prepared = ({ parent, name, methodKind, input, output }, fields) => {
    const path = `/${parent.typeName}/${name}`;
    const type = methodKind === "unary" ? MethodType.UNARY : MethodType.SERVER_STREAMING;
    const write = (message) => toBinary(input, message);
    const read = (bytes) => fromBinary(output, bytes);
    const descriptor = new MethodDescriptor(path, type, Object, Object, write, read);
    return [task.address + path, create(input, fields), descriptor];
  };
  const ask = (method, fields) => {
    const [address, request, descriptor] = prepared(method, fields);
    return client.unaryCall(address, request, {}, descriptor);
  };
  const read = (fields, { deadline, most } = {}) =>
    new Promise((resolve, reject) => {
      const [address, request, descriptor] = prepared(VaeService.method.sampleStream, fields);
      const stream = client.serverStreaming(address, request, deadline ? { deadline: `${deadline}` } : {}, descriptor);
      const parts = [];
      stream.on("data", (part) => {
        if (parts.push(part) === most) {
          stream.cancel();
          resolve(parts.slice()); // what came in the same piece of the body follows
        }
      });
      stream.on("error", reject);
      stream.on("end", () => resolve(parts));
    });
  const tensor = (data, shape) => ({ dtype: DataType.FLOAT32, shape: shape.map(BigInt), data: base64Decode(data) });
  const methods = VaeService.method;
  const names = async () => (await ask(methods.listModels, {})).models.map((model) => model.model.name);
  const count = BigInt(task.count);
  const seed = BigInt(task.seed);
  const endless = { sample: { count: BigInt(task.endlessRows), seed } };

  const models = await names();
  const sample = await ask(methods.sample, { count, seed });
  const image = { case: "tensor", value: tensor(task.images, task.imageShape) };
  const encoded = await ask(methods.encode, { images: { content: image } });
  const decoded = await ask(methods.decode, { latents: tensor(task.latents, task.latentShape) });
  const ten = { sample: { count: BigInt(task.streamRows), seed }, rowsPerResponse: BigInt(task.rowsPerResponse) };
  const parts = await read(ten);
  const missing = await errorOf(() => ask(methods.sample, { model: { name: task.nobody }, count, seed }));
  const wrong = await errorOf(() => ask(methods.sample, { count: 0n }));
  const late = await errorOf(() => read(endless, { deadline: Date.now() + task.deadlineMs }));
  const left = await read(endless, { most: 1 });

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
    left: { code: "none", messages: left.length },
    afterwards: await names(),
  };
}

async function errorOf(call) {
  try {
    await call();
  } catch (error) {
    const code = Object.keys(StatusCode).find((name) => StatusCode[name] === error.code);
    return { code, message: error.message, status: error.metadata?.["grpc-status-details-bin"] };
  }
  return { code: "none" };
}
