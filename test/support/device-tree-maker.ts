/** A flattened device tree (Devicetree Specification, chapter 5): a root with one property of `byteLength` bytes. */
export function makeDeviceTree(byteLength = 8, fill = 0x5a): Uint8Array {
  return reservingTree(byteLength, [], fill);
}

/** The same, with a memory reservation block (section 5.3). */
export function reservingTree(
  byteLength: number,
  reserved: readonly { readonly start: bigint; readonly end: bigint }[],
  fill = 0x5a,
): Uint8Array {
  const padded = Math.ceil(byteLength / 4) * 4;
  const name = new TextEncoder().encode("data\0");
  const [header, reservations, structure] = [40, 16 * (reserved.length + 1), 4 + 4 + 12 + padded + 4 + 4];
  const strings = header + reservations + structure;
  const total = strings + name.byteLength;
  const tree = new Uint8Array(total);
  const view = new DataView(tree.buffer);
  // magic, totalsize, off_dt_struct, off_dt_strings, off_mem_rsvmap, version, last_comp_version, boot_cpuid_phys,
  // size_dt_strings, size_dt_struct
  const words = [
    0xd00dfeed,
    total,
    header + reservations,
    strings,
    header,
    17,
    16,
    0,
    name.byteLength,
    structure,
  ];
  for (const [index, word] of words.entries()) view.setUint32(index * 4, word);
  for (const [index, { start, end }] of reserved.entries()) {
    view.setBigUint64(header + index * 16, start);
    view.setBigUint64(header + index * 16 + 8, end - start);
  }
  let at = header + reservations;
  const put = (word: number): void => {
    view.setUint32(at, word);
    at += 4;
  };
  put(1); // FDT_BEGIN_NODE, then the root's empty name
  put(0);
  put(3); // FDT_PROP: length, name
  put(byteLength);
  put(0);
  tree.fill(fill, at, at + byteLength);
  at += padded;
  put(2); // FDT_END_NODE
  put(9); // FDT_END
  tree.set(name, strings);
  return tree;
}
