//! A profile as a flame graph: what is above something is part of it, and as wide as it took long.

use std::fmt::Write;

use super::ms;
use super::tree::Node;

const WIDTH: f64 = 1200.0;
const ROW: usize = 18;
const COLOURS: [&str; 5] = ["#e3774f", "#e8a34f", "#dfc25b", "#d98c6a", "#ecb777"];
/// What is narrower is left out.
const NARROWEST: f64 = 0.4;
/// Of one letter.
const LETTER: f64 = 6.6;

/// Draws it.
pub fn svg(root: &Node) -> String {
    let rows = depth(root);
    let height = (rows + 1) * ROW + 24;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"monospace\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"4\" y=\"15\">time of all threads; rest the pointer on a box for its numbers</text>\n"
    );
    draw(&mut out, root, (0.0, WIDTH), (rows - 1, rows), root.ns.max(1));
    out.push_str("</svg>\n");
    out
}

fn depth(node: &Node) -> usize {
    1 + node.children.iter().map(depth).max().unwrap_or(0)
}

/// The box of a node from `x` on, with its parts above it; `row` counts from the top.
fn draw(out: &mut String, node: &Node, (x, width): (f64, f64), (row, rows): (usize, usize), all_ns: u64) {
    let y = 24 + row * ROW;
    let percent = node.ns as f64 * 100.0 / all_ns as f64;
    let note = if node.note.is_empty() { String::new() } else { format!(", {}", escaped(&node.note)) };
    let name = escaped(&node.name);
    let letters = (width / LETTER) as usize;
    let label: String = if letters < 3 { String::new() } else { node.name.chars().take(letters).collect() };
    let _ = writeln!(
        out,
        "<g><title>{name}: {} ms ({percent:.1} %){note}</title><rect x=\"{x:.2}\" y=\"{y}\" width=\"{:.2}\" height=\"{}\" \
         fill=\"{}\"/><text x=\"{:.2}\" y=\"{}\">{}</text></g>",
        ms(node.ns),
        (width - 0.3).max(0.2),
        ROW - 1,
        colour(&node.name),
        x + 2.0,
        y + 12,
        escaped(&label)
    );
    let mut at = x;
    for child in &node.children {
        let wide = width * child.ns as f64 / node.ns.max(1) as f64;
        if wide >= NARROWEST && row > 0 {
            draw(out, child, (at, wide), (row - 1, rows), all_ns);
        }
        at += wide;
    }
}

/// The same for the same name, wherever it is.
fn colour(name: &str) -> &'static str {
    match name {
        "guest code" => "#7fb77e",
        "hand-over" => "#79a7d9",
        "waiting" => "#cccccc",
        _ => COLOURS[name.bytes().map(usize::from).sum::<usize>() % COLOURS.len()],
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
