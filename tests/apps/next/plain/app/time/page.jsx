export default function Page() {
  return <p>noon</p>;
}
