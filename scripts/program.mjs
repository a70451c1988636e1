// npm run conformance -- DIR: replays a folder of recorded upstream calls through the public API.
// npm run fuzz -- [--seconds N] [--seed S] [--target NAME]… | --replay FILE: see docs/fuzzing.md.
import { build, ensurePackages, runForUser } from "./setup.mjs";

ensurePackages();
build();
runForUser(...process.argv.slice(2));
