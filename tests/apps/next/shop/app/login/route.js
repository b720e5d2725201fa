import { NextResponse } from 'next/server';

export function GET(request) {
  const answer = NextResponse.redirect(new URL('/account', request.url));
  answer.cookies.set('session', 'ada', { httpOnly: true, secure: true });
  return answer;
}
