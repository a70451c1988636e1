/**
 * Where the parts of an x86 guest go that the caller has not placed: each where the low-memory map has it, if that is
 * free, else where there is room; and if they are in each other's way there, in any other arrangement that has room for
 * all of them.
 */
import { ADDRESS_LIMIT, LARGE_PAGE_SIZE } from "../base/address.js";
import type { LoadInfo } from "../plan/load-info.js";
import type { Wish } from "../plan/packing.js";
import type { Placement } from "../plan/placement.js";
import {
  COMMAND_LINE_ADDRESS,
  GDT_ADDRESS,
  type LowRequest,
  PAGE_TABLE_ADDRESS,
  placeLow,
  SETUP_DATA_ADDRESS,
  wishOfLow,
  ZERO_PAGE_ADDRESS,
} from "./low-memory-map.js";

/** Where the map has them, in the order in which they are placed. */
const USUAL = {
  gdt: GDT_ADDRESS,
  zeroPage: ZERO_PAGE_ADDRESS,
  commandLine: COMMAND_LINE_ADDRESS,
  pageTables: PAGE_TABLE_ADDRESS,
  setupData: SETUP_DATA_ADDRESS,
} as const;

/** What may lie in low memory, by the names that callers use. */
export type LowName = keyof typeof USUAL;

export type NamedLowRequest = LowRequest & { readonly name: LowName };

/** The kernel, placed. */
export interface PlacedKernel {
  readonly info: LoadInfo["kernel"];
  /** One past all that it uses. */
  readonly end: bigint;
}

/** What is to be placed. */
export interface FreeParts {
  /** Takes the kernel's place: at `address`, or where it wants to be. Throws what forbids that. */
  readonly placeKernel: (where: Placement, address?: bigint) => PlacedKernel;
  /** Where it may go instead: below 4 GiB, above 4 GiB; none for a kernel that can't move. */
  readonly kernelWishes: readonly Wish[];
  readonly lows: readonly NamedLowRequest[];
  /** Page tables for a kernel that ends at `kernelEnd`; undefined if there are none or the caller has placed them. */
  readonly pageTables: (kernelEnd: bigint) => NamedLowRequest | undefined;
  readonly initrd: Wish | undefined;
}

/** Where things are. */
export interface X86Places {
  readonly kernel: PlacedKernel;
  readonly lows: { readonly [name in LowName]?: bigint };
  readonly initrd: bigint | undefined;
}

/** The small parts in the order of the map. */
function lowsOf({ lows, pageTables }: FreeParts, kernelEnd: bigint): NamedLowRequest[] {
  const tables = pageTables(kernelEnd);
  const order = Object.keys(USUAL);
  return [...lows, ...(tables === undefined ? [] : [tables])].sort(
    (a, b) => order.indexOf(a.name) - order.indexOf(b.name),
  );
}

/** The initrd at a 2 MiB boundary behind the kernel, at any page there, or anywhere that it may be. */
function placeInitrd(where: Placement, wish: Wish, kernelEnd: bigint): bigint | undefined {
  const { tag, byteLength, windows } = wish;
  const [{ from, below } = { from: 0n, below: ADDRESS_LIMIT }] = windows;
  const behind = { tag, byteLength, from: kernelEnd, below };
  return where.tryPlace({ ...behind, alignment: LARGE_PAGE_SIZE }, behind, { ...behind, from });
}

/** Each where it is usual, one after the other; undefined if one finds no room. */
function placeInTurn(where: Placement, parts: FreeParts, kernel: PlacedKernel): X86Places | undefined {
  const lows: { [name in LowName]?: bigint } = {};
  for (const request of lowsOf(parts, kernel.end)) {
    const at = placeLow(where, USUAL[request.name], request);
    if (at === undefined) return undefined;
    lows[request.name] = at;
  }
  if (parts.initrd === undefined) return { kernel, lows, initrd: undefined };
  const initrd = placeInitrd(where, parts.initrd, kernel.end);
  return initrd === undefined ? undefined : { kernel, lows, initrd };
}

function wishesOf(parts: FreeParts, requests: readonly NamedLowRequest[]): Wish[] {
  return [...requests.map(wishOfLow), ...(parts.initrd === undefined ? [] : [parts.initrd])];
}

/** `addresses` of all that is no kernel, by their names. */
function placesOf(
  kernel: PlacedKernel,
  requests: readonly NamedLowRequest[],
  addresses: readonly bigint[],
): X86Places {
  const lows: { [name in LowName]?: bigint } = {};
  for (const [index, { name }] of requests.entries()) {
    const at = addresses[index];
    if (at !== undefined) lows[name] = at;
  }
  return { kernel, lows, initrd: addresses[requests.length] };
}

/** All but the kernel, which is at `address` or where it wants to be. */
function placeAround(fixed: Placement, parts: FreeParts, address?: bigint): X86Places | undefined {
  const where = fixed.copy();
  const kernel = parts.placeKernel(where, address);
  const requests = lowsOf(parts, kernel.end);
  const found = where.findTogether(wishesOf(parts, requests));
  return found === undefined ? undefined : placesOf(kernel, requests, found);
}

/**
 * Places what the caller has not placed beside what is taken already.
 *
 * @throws DirectBootError PLACEMENT_NO_ROOM if no arrangement has room for all of it; what `placeKernel` throws
 */
export function placeFreely(fixed: Placement, parts: FreeParts): X86Places {
  const where = fixed.copy();
  const kernel = parts.placeKernel(where);
  const usual = placeInTurn(where.copy(), parts, kernel);
  if (usual !== undefined) return usual;

  const [low, high] = parts.kernelWishes;
  if (low === undefined) {
    const around = placeAround(fixed, parts);
    if (around !== undefined) return around;
    throw where.noRoomTogether(wishesOf(parts, lowsOf(parts, kernel.end)));
  }
  // Tables for a kernel below 4 GiB have one size wherever it lies there.
  const requests = lowsOf(parts, 0n);
  const wishes = [low, ...wishesOf(parts, requests)];
  const [address, ...others] = fixed.findTogether(wishes) ?? [];
  if (address !== undefined) return placesOf(parts.placeKernel(fixed.copy(), address), requests, others);
  const [highAddress] = (high === undefined ? undefined : fixed.findTogether([high])) ?? [];
  const around = highAddress === undefined ? undefined : placeAround(fixed, parts, highAddress);
  if (around !== undefined) return around;
  throw fixed.noRoomTogether(wishes);
}
