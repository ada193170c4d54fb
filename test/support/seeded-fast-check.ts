/** `fast-check` with the seed of the tests; every property comes from here. A failure prints the seed. */

import * as fc from "fast-check";
import { testSeed } from "./test-seed.js";

fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: testSeed });

export { fc };
