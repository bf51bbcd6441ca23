//! Makes the pictures in the README from the real program: `cargo bench --bench pictures`. Two runs give
//! the same files.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "it fails by panicking and has a clock"
)]

#[path = "../common/pty.rs"]
mod pty;

use std::time::Duration;

use pty::Pty;

/// The screen as SVG, cell by cell, in the terminal's colours on a dark background.
fn svg(screen: &vt100::Screen) -> String {
    use std::fmt::Write as _;
    let (rows, cols) = (screen.size().0.get(), screen.size().1.get());
    let (cw, ch) = (8.4, 18.0);
    let (w, h) = (f64::from(cols) * cw + 16.0, f64::from(rows) * ch + 16.0);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w:.0} {h:.0}\" font-family=\"DejaVu Sans Mono, \
        Menlo, Consolas, monospace\" font-size=\"14\">\n\
        <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#16181d\"/>\n"
    );
    for y in 0..rows {
        // A trial's id contains the time at which it began.
        let named = screen.contents_between(y, 0, y, cols).contains("Trial 1");
        for x in 0..cols {
            let Some(cell) = screen.cell(y, x).filter(|c| c.has_contents() && c.contents() != " ") else { continue };
            let fill = match cell.fgcolor() {
                vt100::Color::Idx(160) => "#ff5f5f",
                vt100::Color::Idx(172) => "#e5a13c",
                vt100::Color::Idx(34) => "#4ec46a",
                vt100::Color::Idx(133) => "#c58af9",
                vt100::Color::Idx(37) => "#4cc3c7",
                _ if cell.dim() => "#8a919e",
                _ => "#dfe3ea",
            };
            let text = if named && x < 24 {
                cell.contents().replace(|c: char| c.is_ascii_digit(), "0")
            } else {
                cell.contents().to_owned()
            };
            let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            let bold = if cell.bold() { " font-weight=\"bold\"" } else { "" };
            let _ = writeln!(
                out,
                "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{fill}\"{bold}>{text}</text>",
                8.0 + f64::from(x) * cw,
                22.0 + f64::from(y) * ch
            );
        }
    }
    out.push_str("</svg>\n");
    out
}

fn main() {
    let assets = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    let save = |p: &mut Pty, name: &str| {
        p.quiet(Duration::from_millis(80));
        std::fs::write(assets.join(name), svg(p.emulator.screen())).unwrap();
    };
    let mut p = Pty::start(&["demo"], &[]);
    p.see("portmapper");
    save(&mut p, "services.svg");
    p.press("p");
    p.see("Who may use");
    p.press("node1 10.0.0.5\r");
    p.see("staged: 2 nodes");
    p.press("3");
    p.see("your SSH session");
    save(&mut p, "plan.svg");
    p.press("1/9042\rw");
    p.see("DNAT to 172.17.0.2 port 9042");
    save(&mut p, "way.svg");
    p.press("\x1b");
    p.see("1 found");
    p.press("\x1b");
    p.gone("1 found");
    p.press("3");
    p.see("your SSH session");
    p.press("y");
    p.see("Apply on trial for 60 s");
    p.press("\r");
    // The clock shows the same second in each picture.
    p.see("proof of access");
    p.see(" 55 s");
    save(&mut p, "trial.svg");
    p.press("\x1b");
    p.see("T shows it");
    p.press("q");
    p.end();
}
