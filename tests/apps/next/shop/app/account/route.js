export function GET(request) {
  return Response.json({ address: request.headers.get('x-forwarded-for') });
}
