/** The product's mark: a line that branches, one end lit. */
export function Mark() {
  return (
    <svg viewBox="0 0 32 32" aria-hidden>
      <rect width="32" height="32" rx="8" fill="#0b6b75" />
      <g fill="none" stroke="#fff" strokeWidth="2.6" strokeLinecap="round">
        <path d="M7 16h3.5C17 16 15.5 9 22 9h1" />
        <path d="M10.5 16C17 16 15.5 23 22 23h1" />
      </g>
      <circle cx="7" cy="16" r="2.7" fill="#fff" />
      <circle cx="24.5" cy="9" r="3.1" fill="#ffb347" />
      <circle cx="24.5" cy="23" r="2.7" fill="#fff" />
    </svg>
  );
}
