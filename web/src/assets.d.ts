/** What the bundler makes of a file that is imported with `?url`: where the page finds it. */
declare module "*?url" {
  const url: string;
  // biome-ignore lint/style/noDefaultExport: that is how the bundler hands it out
  export default url;
}
declare module "*.css" {}
