/**
 * What a machine consists of, as plain data: it can be printed, cloned and posted to a worker. From one description come the
 * ACPI tables, the MP table and SMBIOS of an x86 guest, or the device tree of an arm64 or riscv64 guest. Presets of machines
 * that exist are in machines.ts.
 *
 * Addresses are guest physical, `number | bigint`. `end` is one past the last byte, port or bus. An interrupt `line` is what
 * the architecture's tables count: the GSI on x86, the GIC's INTID on arm64 (SPI n is 32 + n), the source number on riscv64.
 */
import type { AddressLike } from "../base/address.js";
import type { MemoryRangeInput } from "../memory/memory-range.js";

/** A line of the machine's interrupt controllers, and how a device drives it. */
export interface InterruptLine {
  /** x86: GSI (below 16 an ISA IRQ, which overrides may reroute); arm64: INTID; riscv64: source. */
  readonly line: number;
  readonly trigger: "edge" | "level";
  /** The active level or edge; "high" by default. */
  readonly polarity?: "high" | "low" | undefined;
}

/** Registers in memory: `size` bytes at `address`. */
export interface RegisterRange {
  readonly address: AddressLike;
  readonly size: number;
}

/** A processor, where its number alone does not say enough. */
export interface MachineCpu {
  /** x86: APIC id; arm64: MPIDR affinity; riscv64: hart id. */
  readonly id: AddressLike;
  /** Where it sits; each counts from 0. */
  readonly socket?: number | undefined;
  readonly core?: number | undefined;
  readonly thread?: number | undefined;
}

/** A serial port: 16550 by I/O port, 16550 by address, or PL011. */
export type SerialPort =
  | {
      readonly type: "16550";
      /** The first of eight I/O ports. x86 only. */
      readonly port: number;
      readonly interrupt?: InterruptLine | undefined;
    }
  | {
      readonly type: "16550";
      readonly address: AddressLike;
      /** Hz of the clock that is divided to the baud rate; device trees say it. */
      readonly clock?: number | undefined;
      readonly interrupt?: InterruptLine | undefined;
    }
  | {
      readonly type: "pl011";
      readonly address: AddressLike;
      /** Hz; device trees say it. */
      readonly clock?: number | undefined;
      readonly interrupt?: InterruptLine | undefined;
    };

/** A clock that keeps the time of day: the CMOS of a PC, Arm's PL031, or Goldfish's. */
export type RealTimeClock =
  | {
      readonly type: "cmos";
      /** ISA IRQ, 8 on a PC; without one the clock has no alarm. */
      readonly irq?: number | undefined;
      /** CMOS index of the century, 0x32 on a PC; without one the clock has none. */
      readonly century?: number | undefined;
    }
  | {
      readonly type: "pl031" | "goldfish";
      readonly address: AddressLike;
      readonly interrupt?: InterruptLine | undefined;
    };

/** I/O ports that a PCI root hands to its devices. */
export interface PciIoWindow {
  readonly start: number;
  readonly end: number;
  /** Where port `start` lies in memory, on machines without port instructions. */
  readonly address?: AddressLike | undefined;
}

/** Memory that a PCI root hands to its devices; PCI addresses are CPU addresses. */
export interface PciMemoryWindow {
  readonly start: AddressLike;
  readonly end: AddressLike;
  /** Reads have no side effects: for VGA memory. False by default. */
  readonly cacheable?: boolean | undefined;
}

/** Where the four pins of a device of the root bus go. */
export interface PciInterruptRoute {
  /** Device number, 0 to 31. */
  readonly device: number;
  /** The lines of INTA to INTD, level-triggered. */
  readonly lines: readonly [number, number, number, number];
}

/** A PCI host bridge. */
export interface PciRoot {
  /** 0 by default. */
  readonly segment?: number | undefined;
  /** Bus numbers `[start, end)`; 0 to 256 by default. */
  readonly buses?: { readonly start: number; readonly end: number } | undefined;
  /** Configuration by ports 0xcf8 and 0xcfc (x86). */
  readonly hasPorts?: boolean | undefined;
  /** Enhanced configuration: where the first bus's 1 MiB lies. */
  readonly ecam?: AddressLike | undefined;
  readonly io?: readonly PciIoWindow[] | undefined;
  /** 32-bit and 64-bit windows. */
  readonly memory?: readonly PciMemoryWindow[] | undefined;
  /** Without routes devices have only MSI. */
  readonly routes?: readonly PciInterruptRoute[] | undefined;
}

/** A virtio-mmio transport. */
export interface VirtioMmioDevice extends RegisterRange {
  readonly interrupt: InterruptLine;
}

/** What SMBIOS tells the guest; all of it is optional. */
export interface MachineIdentity {
  readonly manufacturer?: string | undefined;
  readonly product?: string | undefined;
  readonly version?: string | undefined;
  readonly serialNumber?: string | undefined;
  /** "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"; without one the machine has none. */
  readonly uuid?: string | undefined;
  readonly sku?: string | undefined;
  readonly family?: string | undefined;
  readonly assetTag?: string | undefined;
  readonly firmwareVendor?: string | undefined;
  readonly firmwareVersion?: string | undefined;
  /** "mm/dd/yyyy" */
  readonly firmwareDate?: string | undefined;
}

/** What machines of all architectures have. */
export interface MachineParts {
  /** A number n for CPUs with the ids 0 to n - 1, or each of them. The first one starts. */
  readonly cpus: number | readonly MachineCpu[];
  /**
   * RAM; loadLinux takes its own `memory` instead. Windows and registers are checked against it, and SMBIOS and device trees
   * state it.
   */
  readonly ram?: readonly MemoryRangeInput[] | undefined;
  readonly serial?: readonly SerialPort[] | undefined;
  readonly rtc?: RealTimeClock | undefined;
  readonly pci?: readonly PciRoot[] | undefined;
  readonly virtioMmio?: readonly VirtioMmioDevice[] | undefined;
  readonly identity?: MachineIdentity | undefined;
}

/** An I/O APIC. */
export interface IoApic {
  readonly id: number;
  readonly address: AddressLike;
  /** The GSI of its first pin. */
  readonly gsiBase: number;
  /** 24 by default. */
  readonly pins?: number | undefined;
}

/** An ISA IRQ that is not the GSI of the same number, edge-triggered and active high. */
export interface InterruptOverride {
  readonly irq: number;
  readonly gsi: number;
  /** As the bus has it (ISA: edge, high) by default. */
  readonly trigger?: "edge" | "level" | undefined;
  readonly polarity?: "high" | "low" | undefined;
}

/** Interrupt controllers of an x86 machine. */
export interface X86Interrupts {
  /** The local APICs' registers; 0xfee00000 by default. */
  readonly localApic?: AddressLike | undefined;
  /** The local interrupt pin of every CPU that has NMI; 1 by default. */
  readonly nmiPin?: 0 | 1 | undefined;
  readonly ioApics: readonly IoApic[];
  readonly overrides?: readonly InterruptOverride[] | undefined;
  /** There are two 8259A beside the APICs. */
  readonly pic: boolean;
}

/** Clocks of an x86 machine beside its TSC and local APIC timers. */
export interface X86Timers {
  /** There is an 8254 at port 0x40. */
  readonly pit: boolean;
  readonly hpet?:
    | {
        readonly address: AddressLike;
        /** The low half of its capabilities register; 0x8086a201 (Intel, 3 comparators, 64-bit) by default. */
        readonly id?: number | undefined;
      }
    | undefined;
  /** The I/O port of ACPI's power management timer, 24 bits at 3.579545 MHz. */
  readonly pmTimer?: number | undefined;
}

/** A value that resets the machine when it is written to a register. */
export interface ResetRegister {
  readonly space: "io" | "memory";
  readonly address: AddressLike;
  readonly value: number;
}

/** How an x86 machine is switched off: by ACPI's fixed registers, or by those of hardware-reduced ACPI. */
export type X86Power =
  | {
      readonly type: "pm1";
      /** PM1a event block, 4 ports, and control block, 2 ports (ACPI 6.5, 4.8.3). */
      readonly eventPort: number;
      readonly controlPort: number;
      /** The interrupt of power events: an ISA IRQ. */
      readonly sci: number;
      /** What is written to this port hands the registers over to ACPI, and back. Without it they are ACPI's from the start. */
      readonly smi?: { readonly port: number; readonly enable: number; readonly disable: number } | undefined;
      /** General-purpose events: `length` ports, half of them status, half enable. */
      readonly gpe0?: { readonly port: number; readonly length: number } | undefined;
      /** SLP_TYP of the state S5, 0 to 7. */
      readonly s5: number;
      readonly reset?: ResetRegister | undefined;
    }
  | {
      readonly type: "reduced";
      /** Sleep control and status, a byte each (ACPI 6.5, 4.8.3.7). */
      readonly sleepControl: AddressLike;
      readonly sleepStatus: AddressLike;
      readonly s5: number;
      /** A register of 4 bytes whose bit 1 says that the power button was pressed, and its interrupt (ACPI 6.5, 5.6.9). */
      readonly events?: { readonly address: AddressLike; readonly interrupt: InterruptLine } | undefined;
      readonly reset?: ResetRegister | undefined;
    };

/** An x86 machine, 32-bit or 64-bit. */
export interface X86Machine extends MachineParts {
  readonly architecture: "x86";
  readonly interrupts: X86Interrupts;
  readonly timers: X86Timers;
  readonly power?: X86Power | undefined;
  /** Keyboard and mouse controller at ports 0x60 and 0x64; the mouse has ISA IRQ 12, or there is none. */
  readonly i8042?: { readonly hasMouse: boolean } | undefined;
}

/** Interrupt controller of an arm64 machine. */
export type Arm64Interrupts =
  | {
      readonly type: "gicv2";
      readonly distributor: RegisterRange;
      readonly cpuInterface: RegisterRange;
      /** The end of the INTIDs: 32 and the number of SPIs. */
      readonly end: number;
      /** A GICv2m frame, for MSI: INTIDs `[start, end)`. */
      readonly v2m?: (RegisterRange & { readonly start: number; readonly end: number }) | undefined;
    }
  | {
      readonly type: "gicv3";
      readonly distributor: RegisterRange;
      readonly redistributors: readonly RegisterRange[];
      readonly end: number;
      /** The interrupt translation service, for MSI. */
      readonly its?: RegisterRange | undefined;
    };

/** An arm64 machine. */
export interface Arm64Machine extends MachineParts {
  readonly architecture: "arm64";
  readonly interrupts: Arm64Interrupts;
  /** INTIDs of the architected timer, level-triggered, and of the performance monitors. */
  readonly timer: {
    readonly securePhysical: number;
    readonly physical: number;
    readonly virtual: number;
    readonly hypervisor: number;
  };
  readonly pmu?: { readonly interrupt: InterruptLine } | undefined;
  /** CPUs are started, and the machine is switched off and reset, by PSCI 1.0; by "hvc" or "smc". */
  readonly power: { readonly type: "psci"; readonly method: "hvc" | "smc" };
  /** A PL061, and its pin that is the power button. */
  readonly gpio?:
    | (RegisterRange & { readonly interrupt: InterruptLine; readonly powerPin?: number | undefined })
    | undefined;
  /** The devices' `compatible` CPU name, "arm,cortex-a57"; "arm,armv8" by default. */
  readonly cpuCompatible?: string | undefined;
}

/** Interrupt controllers of a riscv64 machine. */
export type Riscv64Interrupts =
  | (RegisterRange & {
      readonly type: "plic" /** The end of the source numbers, which begin at 1. */;
      readonly end: number;
    })
  | {
      readonly type: "aia";
      /** The supervisor's APLIC. */
      readonly aplic: RegisterRange;
      readonly end: number;
      /** The supervisor's IMSICs, one page a hart, and how many MSIs each takes. */
      readonly imsic?: (RegisterRange & { readonly ids: number }) | undefined;
    };

/** A riscv64 machine. */
export interface Riscv64Machine extends MachineParts {
  readonly architecture: "riscv64";
  readonly interrupts: Riscv64Interrupts;
  /** Software interrupts and the machine timer: SiFive's CLINT, or ACLINT's parts at the same places. */
  readonly aclint?: RegisterRange | undefined;
  /** Hz of `rdtime`. */
  readonly timebaseFrequency: number;
  /** The `riscv,isa` of every hart. */
  readonly isa: string;
  readonly mmu?: "sv39" | "sv48" | "sv57" | undefined;
  /** By SBI alone, or also by a register that takes one value to switch off and one to reset. */
  readonly power:
    | { readonly type: "sbi" }
    | (RegisterRange & { readonly type: "syscon"; readonly poweroff: number; readonly reset: number });
}

/** A machine, described. */
export type MachineDescription = X86Machine | Arm64Machine | Riscv64Machine;

/** The CPUs of a machine, each with its id. */
export function cpusOf({ cpus }: MachineParts): readonly MachineCpu[] {
  return typeof cpus === "number" ? Array.from({ length: cpus }, (_, id) => ({ id })) : cpus;
}

/** Pins of an I/O APIC that does not say how many it has: those of Intel's 82093AA and of ICH9. */
export const IO_APIC_PINS = 24;

/** Bus numbers of a root that does not say which it has. */
export const ALL_BUSES = { start: 0, end: 256 } as const;
