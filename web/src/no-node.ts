/** Stands for modules of Node that a package imports where it runs under Node. */
export {};
