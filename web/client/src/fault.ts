import type { TidegateError } from "./types.js";

export const fault = (code: string, message: string, temporary = false): TidegateError =>
  Object.assign(new Error(message), { code, temporary });
