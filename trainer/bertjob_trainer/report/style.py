"""The style sheet of the report: light and dark as the reader's system says, narrow and wide, and on paper."""

from typing import Final

CSS: Final = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #ffffff; --ink: #1c2330; --soft: #5b6575; --edge: #e1e5eb;
  --accent: #2457c5; --faint: #9db4e4; --good: #1f7a4d; --bad: #b3382c; }
@media (prefers-color-scheme: dark) { :root { --page: #11151c; --card: #1a202a; --ink: #e6eaf0; --soft: #9aa5b5;
  --edge: #2c3441; --accent: #7fa6ff; --faint: #47639d; --good: #56c08d; --bad: #ef8276; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto,
  "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 28px 20px 60px; }
header h1 { margin: 0; font-size: 26px; line-height: 1.25; overflow-wrap: anywhere; }
header p { margin: 4px 0 0; color: var(--soft); overflow-wrap: anywhere; }
h2 { margin: 0 0 12px; font-size: 17px; }
h3 { margin: 0 0 6px; font-size: 14px; font-weight: 600; color: var(--soft); }
section, .figure { background: var(--card); border: 1px solid var(--edge); border-radius: 10px; padding: 18px 20px; }
section { margin-top: 18px; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin-top: 20px; }
.figure { padding: 12px 16px; }
.figure b { display: block; font-size: 23px; line-height: 1.3; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.figure span { color: var(--soft); font-size: 13px; }
.figure.main b { color: var(--accent); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: 20px 28px; }
.note { margin: 18px 0 0; padding: 10px 16px; border-left: 4px solid var(--accent); background: var(--card);
  border-radius: 0 8px 8px 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 10px 6px 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--edge); }
th { color: var(--soft); font-weight: 600; font-size: 13px; }
td.number, th.number { text-align: right; white-space: nowrap; padding-left: 12px; }
td:has(.bar) { white-space: nowrap; }
td.text { min-width: 260px; overflow-wrap: anywhere; }
tr:last-child td { border-bottom: 0; }
table.facts td:first-child { color: var(--soft); white-space: nowrap; width: 1%; }
table.facts td { overflow-wrap: anywhere; }
.bar { display: inline-block; width: 56px; height: 8px; margin-right: 8px; border-radius: 4px; background: var(--edge);
  overflow: hidden; vertical-align: middle; }
.bar i { display: block; height: 100%; background: var(--accent); }
pre { margin: 0; overflow-x: auto; font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
details summary { cursor: pointer; color: var(--soft); }
details[open] summary { margin-bottom: 10px; }
.soft, footer { color: var(--soft); }
footer { margin-top: 28px; font-size: 13px; }
svg { display: block; width: 100%; height: auto; }
svg text { font: 12px system-ui, sans-serif; }
.tick { fill: var(--soft); }
.grid { stroke: var(--edge); }
.mark { stroke: var(--soft); stroke-dasharray: 3 4; }
polyline { fill: none; stroke-linejoin: round; }
.line { stroke: var(--accent); stroke-width: 2; }
.faint { stroke: var(--faint); stroke-width: 1; opacity: .75; }
.dot { fill: var(--accent); }
.right { fill: var(--good); } .wrong { fill: var(--bad); }
.cell { fill: var(--ink); } .strong { fill: var(--card); font-weight: 600; }
.candidates svg { max-width: 720px; border-radius: 8px; }
@media (max-width: 520px) { main { padding: 18px 12px 40px; } section { padding: 14px; } }
@media print { body { background: none; } section, .figure { break-inside: avoid; } }
"""
