// Preloaded by the suite `twins`: every test then runs over the JavaScript twins of the hot paths.
import { hotPaths } from "../../src/index.js";

hotPaths.use("javascript");
