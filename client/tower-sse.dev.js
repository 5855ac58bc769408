/** tower-sse for development: the same, and warnings in the console. */
export * from "./tower-sse.js";
