//! Results as a picture.

use std::fmt::Write;

use crate::report::Results;

const BAR: usize = 14;
const LEFT: usize = 300;
const WIDTH: f64 = 480.0;
const COLOURS: [&str; 6] = ["#777", "#2a6fdb", "#d9822b", "#3a9d5d", "#a34bc4", "#b8a100"];

/// Bars of the medians, on a logarithmic scale, as multiples of the first subject's (SVG).
pub fn svg(results: &Results) -> String {
    let (metrics, subjects) = (results.metrics().count(), results.subjects().len());
    let height = metrics * (subjects + 1) * BAR + 30;
    let ratios: Vec<f64> = (0..metrics)
        .flat_map(|m| (0..subjects).map(move |s| (m, s)))
        .filter_map(|(m, s)| results.ratio(m, s))
        .filter(|ratio| *ratio > 0.0)
        .collect();
    let lowest = ratios.iter().copied().fold(0.5, f64::min);
    let highest = ratios.iter().copied().fold(10.0, f64::max);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"4\" y=\"14\">median as a multiple of that of {} (logarithmic)</text>\n",
        LEFT as f64 + WIDTH + 80.0,
        escaped(&results.subjects()[0])
    );
    let mut y = 22;
    for (m, name) in results.metrics().enumerate() {
        for (s, subject) in results.subjects().iter().enumerate() {
            let ratio = results.ratio(m, s);
            let length =
                ratio.map_or(0.0, |r| ((r / lowest).ln() / (highest / lowest).ln() * WIDTH).max(1.0));
            let label = ratio.map_or("not measured".to_owned(), |r| format!("{r:.2}"));
            let _ = writeln!(
                out,
                "<text x=\"4\" y=\"{text}\">{name} {}</text><rect x=\"{LEFT}\" y=\"{y}\" width=\"{length:.0}\" \
                 height=\"{}\" fill=\"{}\"/><text x=\"{:.0}\" y=\"{text}\">{label}</text>",
                escaped(subject),
                BAR - 2,
                COLOURS[s % COLOURS.len()],
                LEFT as f64 + length + 4.0,
                text = y + BAR - 3,
            );
            y += BAR;
        }
        y += BAR;
    }
    out.push_str("</svg>\n");
    out
}

/// Names of peers are the user's.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
