import { SUBJECT, type Subject } from "../subject.js";
import type { Target } from "../target.js";
import { decoderTarget, FORMATS, gunzipTarget } from "./decoders.js";
import { deviceTreeTarget } from "./device-tree.js";
import { arm64ImageTarget, bzImageTarget, elfTarget, zbootTarget } from "./images.js";
import { loadArm64Target, loadX86Target } from "./load.js";
import { e820Target, layoutTarget } from "./memory.js";
import { planTarget } from "./plan.js";
import { segmentsTarget } from "./segments.js";
import { initrdTarget, kernelFileTarget } from "./wrappers.js";

/** All targets, over what they are to run. */
export function allTargets(subject: Subject = SUBJECT): readonly Target[] {
  return [
    elfTarget(subject),
    bzImageTarget(subject),
    arm64ImageTarget(subject),
    zbootTarget(subject),
    deviceTreeTarget(subject),
    ...FORMATS.map((format) => decoderTarget(subject, format)),
    gunzipTarget(subject),
    layoutTarget(subject),
    e820Target(subject),
    segmentsTarget(subject),
    planTarget(subject),
    initrdTarget(subject),
    kernelFileTarget(subject),
    loadX86Target(subject),
    loadArm64Target(subject),
  ];
}
