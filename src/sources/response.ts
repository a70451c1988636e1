/** A Response of fetch as a source. */

import { DirectBootError } from "../base/errors.js";
import { wrongType } from "../base/options.js";
import { isResponse, type ResponseLike } from "./platform-shapes.js";
import { type StreamOptions, StreamSource } from "./stream.js";

/**
 * The length of the body, if the headers tell: `content-length` counts the bytes on the wire, which are the body's only
 * without a content-encoding. Across origins a page can't see that header, so its absence says nothing there.
 */
function bodyLength(response: ResponseLike): number | undefined {
  const encoding = response.headers.get("content-encoding");
  const isPlain = encoding === null ? response.type !== "cors" : encoding.trim().toLowerCase() === "identity";
  const length = response.headers.get("content-length");
  if (!isPlain || length === null || !/^\d{1,15}$/.test(length)) return undefined;
  return Number(length);
}

/**
 * The body of a response as a source. Its name is the response's URL, its length what `options` or else the headers say.
 *
 * @throws DirectBootError SOURCE_READ if the status is none of success, or there is no body that can be read
 *
 * @example
 * ```ts
 * import { detectKernel, responseSource } from "directboot";
 * import { readFileSync } from "node:fs";
 *
 * const response = new Response(readFileSync("vmlinuz")); // await fetch(url)
 * const source = responseSource(response, { spoolLimit: 1024 * 1024 });
 * console.log((await detectKernel(source)).format); // bzImage
 * ```
 */
export function responseSource(response: ResponseLike, options: StreamOptions = {}): StreamSource {
  if (!isResponse(response)) throw wrongType("response", "a Response", response);
  const name = response.url === "" ? (options.name ?? "response") : response.url;
  const { body } = response;
  if (!response.ok) {
    if (body !== null && !body.locked) body.cancel().catch(() => {});
    const status = `${response.status} ${response.statusText}`.trim();
    throw new DirectBootError("SOURCE_READ", `${name}: the server answered with status ${status}`, {
      cure: "check the URL and the server",
    });
  }
  if (response.bodyUsed) {
    throw new DirectBootError("SOURCE_CONSUMED", `${name}: the body of this Response was read already`, {
      cure: "fetch it again for each use, or keep its bytes: await response.arrayBuffer()",
    });
  }
  if (body === null) throw new DirectBootError("SOURCE_READ", `${name}: the response has no body`);
  return new StreamSource(body, { ...options, byteLength: options.byteLength ?? bodyLength(response), name });
}
