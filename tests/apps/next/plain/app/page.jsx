export default function Page() {
  return <main><h1>Clock</h1><a href="/time">time</a></main>;
}
