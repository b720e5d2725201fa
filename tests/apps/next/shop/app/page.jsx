import { headers } from 'next/headers';

export default async function Page() {
  const given = await headers();
  const base = `${given.get('x-forwarded-proto') ?? 'http'}://${given.get('host')}`;
  return <main><h1>Shop</h1><img src={`${base}/logo.png`} alt="" /><a href="/login">Sign in</a></main>;
}
