//! The matrix as one page of HTML, without scripts.

use crate::markdown::{ABOUT, cell, summary};
use crate::matrix::Matrix;

/// The page.
pub fn html(matrix: &Matrix) -> String {
    let places = matrix.places();
    let mut out = String::from(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Compat matrix</title>\n<style>\n\
         body { font: 15px/1.5 sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }\n\
         table { border-collapse: collapse; width: 100%; }\n\
         th, td { text-align: left; padding: 0.15rem 0.6rem; border-bottom: 1px solid #ddd; vertical-align: top; }\n\
         th { position: sticky; top: 0; background: #fff; }\n\
         .full { background: #dff5e1; }\n.partial { background: #fff6d6; }\n.none { background: #f3f3f3; }\n\
         </style>\n<h1>Compat matrix</h1>\n",
    );
    out.push_str(&format!("<p>{}</p>\n", escaped(ABOUT)));
    out.push_str(&format!("<p>{}</p>\n<table>\n", escaped(&summary(matrix))));
    let heads: String = places.iter().map(|place| format!("<th>{}</th>", escaped(place))).collect();
    out.push_str(&format!("<tr><th>number</th><th>call</th><th>support</th>{heads}<th>note</th></tr>\n"));
    for call in &matrix.calls {
        let level = call.level.as_str();
        let cells: String =
            places.iter().map(|place| format!("<td>{}</td>", cell(call.cases.get(*place)))).collect();
        out.push_str(&format!(
            "<tr class=\"{level}\"><td>{}</td><td>{}</td><td>{level}</td>{cells}<td>{}</td></tr>\n",
            call.number,
            escaped(call.name),
            escaped(call.note)
        ));
    }
    out.push_str("</table>\n</html>\n");
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    #[test]
    fn text_is_escaped() {
        assert_eq!(super::escaped("a<b> & \"c\""), "a&lt;b&gt; &amp; &quot;c&quot;");
    }
}
