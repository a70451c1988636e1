/** The URL of a file that is imported with `?url`, from the bundler. */
declare module "*?url" {
  const url: string;
  // biome-ignore lint/style/noDefaultExport: that is how the bundler hands it out
  export default url;
}
declare module "*.css" {}
