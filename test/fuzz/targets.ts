import type { Targets } from "./fuzzer.js";
import { DECODERS } from "./targets/decoders.js";
import { LOADS } from "./targets/loads.js";
import { MEMORY } from "./targets/memory.js";
import { PARSERS } from "./targets/parsers.js";
import { PLANS } from "./targets/plans.js";

/** Everything that is fuzzed. */
export const TARGETS: Targets = { ...PARSERS, ...DECODERS, ...MEMORY, ...PLANS, ...LOADS };
