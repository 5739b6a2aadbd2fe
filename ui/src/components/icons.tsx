/** Line icons, drawn here: no font, no sprite, no request. */
const paths = {
  overview: "M3 13h8V3H3zM13 21h8V11h-8zM3 21h8v-6H3zM13 3v6h8V3z",
  tasks: "M4 6h2M4 12h2M4 18h2M10 6h10M10 12h10M10 18h10",
  inbox: "M3 13l3-8h12l3 8v6H3zM3 13h5l1.5 3h5L16 13h5",
  chat: "M4 5h16v11H9l-5 4z",
  calendar: "M4 6h16v14H4zM4 10h16M8 3v4M16 3v4",
  workers: "M4 4h16v6H4zM4 14h16v6H4zM8 7h.01M8 17h.01",
  analytics: "M4 20V10M10 20V4M16 20v-7M22 20H2",
  tools: "M14.5 6.5a4 4 0 0 0-5.3 5L3 17.7 6.3 21l6.2-6.2a4 4 0 0 0 5-5.3L15 12l-3-3z",
  settings: "M4 7h10M18 7h2M4 17h2M10 17h10M16 5v4M8 15v4",
  plus: "M12 5v14M5 12h14",
  search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l5 5",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.5 1.5M17.5 17.5 19 19M19 5l-1.5 1.5M6.5 17.5 5 19",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5z",
  pause: "M8 5v14M16 5v14",
  play: "M7 4l13 8-13 8z",
  stop: "M6 6h12v12H6z",
  edit: "M4 20h4L19 9l-4-4L4 16z",
  clip: "M20 11l-8 8a5 5 0 0 1-7-7l9-9a3.3 3.3 0 0 1 5 5l-9 9a1.7 1.7 0 0 1-2.5-2.5L15 7",
  copy: "M8 8h12v12H8zM16 8V4H4v12h4",
  check: "M4 12l5 5L20 6",
  cross: "M6 6l12 12M18 6L6 18",
  alert: "M12 3l10 18H2zM12 10v5M12 18h.01",
  clock: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 7v5l3 2",
  bolt: "M13 2L4 14h7l-1 8 9-12h-7z",
  chevron: "M9 6l6 6-6 6",
  dot: "M12 7a5 5 0 1 0 0 10 5 5 0 0 0 0-10z",
  link: "M10 14l4-4M8 12l-3 3a4 4 0 0 0 5 5l3-3M16 12l3-3a4 4 0 0 0-5-5l-3 3",
  menu: "M4 6h16M4 12h16M4 18h16",
  help: "M9 9a3 3 0 1 1 4 2.8c-.7.3-1 .9-1 1.7V14M12 17.5h.01",
  send: "M4 12l16-8-6 16-3-6z",
  model: "M12 3l8 4.5v9L12 21l-8-4.5v-9zM12 12l8-4.5M12 12v9M12 12L4 7.5",
  flag: "M6 21V4h11l-2 4 2 4H6",
  fork: "M7 4v16M7 13c0-4 10-2 10-8M17 4.5v.01M17 3a2 2 0 1 0 0 4 2 2 0 0 0 0-4zM7 18a2 2 0 1 0 0 4 2 2 0 0 0 0-4z",
  template: "M4 4h16v5H4zM4 13h7v7H4zM15 13h5v7h-5z",
  retry: "M4 12a8 8 0 1 1 2.3 5.6M4 12V7M4 12h5",
  file: "M6 3h8l4 4v14H6zM14 3v4h4M12 11v7M9 15l3 3 3-3",
  sort: "M8 4v16M4 16l4 4 4-4M16 20V4M12 8l4-4 4 4",
} as const;

export type IconName = keyof typeof paths;

export function Icon({ name, size = 16 }: { name: IconName; size?: number }) {
  return (
    <svg class="icon" width={size} height={size} viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
      <path d={paths[name]} />
    </svg>
  );
}
