/**
 * Parameters of the query that VS Code gives a URI handler. On the desktop it is decoded already, in the browser it is as it was sent; what
 * still looks encoded is decoded. A plus sign stays one: in a code it means itself.
 */
export function parametersOf(query: string): URLSearchParams {
  const parameters = new URLSearchParams();
  for (const pair of query.split('&')) {
    const at = pair.indexOf('=');
    if (at > 0) parameters.append(pair.slice(0, at), decoded(pair.slice(at + 1)));
  }
  return parameters;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // A bare percent sign: decoded before.
    return text;
  }
}
