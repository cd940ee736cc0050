/** Style sheets, which the build puts into the document. */
declare module '*.css'
