/** What the server says, in protobuf's JSON, and what the page's parts say to each other. Types only: never served. */

interface Tensor { dtype: string; shape: string[]; data: string }
interface Images { png?: { files: string[] }; tensor?: Tensor }
interface ServedModel { name: string; version?: string; digest: string }
interface ImageSpec { channels: number; height: number; width: number; valueMin?: number; valueMax?: number }
interface Pool { name: string; weight?: number; rows?: string; aggregate?: boolean }
interface Gate { name: string; wanted?: string; came?: string; passed?: boolean; forced?: boolean }
interface Metric { name: string; value?: number; standardError?: number }
interface Model {
  model: ServedModel; ready?: boolean; image: ImageSpec; latentShape: string[]; kind: string; likelihood: string;
  prior: string; pools?: Pool[]; metrics?: Metric[]; gates?: Gate[]; created?: string; executionProvider?: string; maxRows: string;
  dataset?: string; offersScore?: boolean; offersLatentMap?: boolean;
}
interface ModelVersion {
  name: string; version: string; state: string; reason?: string; digest?: string; memoryBytes?: string;
  isDefault?: boolean;
}
interface ModelRef { name: string; version: string }

interface CallOptions { signal?: AbortSignal }
interface Service {
  /** One call of the API; the answer as JSON. Throws ServiceError, or AbortError once the signal is. */
  call(method: string, message: object, options?: CallOptions): Promise<any>;
  /** The Prometheus text of the server's metrics. */
  metrics(options?: CallOptions): Promise<string>;
  /** An animation of an InterpolateRequest. */
  walkGif(message: object, options?: { delayMs?: number; bounce?: boolean; signal?: AbortSignal }): Promise<Blob>;
}
interface Address {
  readonly view: string;
  get(key: string): string | null;
  /** Sets or, with null, removes keys of this view. */
  set(change: Record<string, string | number | null>, options?: { push?: boolean }): void;
  /** Opens another view with these keys set there. */
  go(view: string, change?: Record<string, string | number | null>): void;
  /** What a link to another view points at. */
  href(view: string, change?: Record<string, string | number | null>): string;
  /** Set by a view that takes a changed address (back, forward, edited) by itself; else it is opened anew. */
  onchange: (() => void) | null;
}
interface Context {
  service: Service; models: Model[]; versions: ModelVersion[]; model: Model; address: Address;
  ref(model: Model): ModelRef;
  say(text: string): void;
  /** Tells an error in words; nothing of a call that was aborted. Null clears. */
  fail(error: unknown): void;
}
interface OpenView { close(): void }
interface View { name: string; title: string; open(root: HTMLElement, context: Context): OpenView }

/** A named point of latent space: `latent` is one row, flattened. */
interface Point { name: string; latent: Float32Array }

interface Uint8ArrayConstructor { fromBase64?(text: string): Uint8Array<ArrayBuffer> }
interface Uint8Array { toBase64?(): string }
