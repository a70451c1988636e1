// Preloaded by the suite `twins`: every test then runs over the JavaScript kernels.
import { kernels } from "../../src/index.js";

kernels.use("javascript");
