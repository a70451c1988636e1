// The hot paths. Compiled to one module without static data and without state: it can be attached to any
// linear memory (one 64 KiB page to 4 GiB) and touches nothing but the ranges that it is told. Only numbers
// cross the border; addresses of guest memory beyond 2^32 come as f64, exact up to 2^53 > 2^52.
export { copyCrc32, crc32, crc32Prepare } from "./crc32";
export { entries, identityMap } from "./page-table";
export { copy, zero } from "./pages";
