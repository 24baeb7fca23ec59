//! The figures as bars.

use std::fmt::Write;

/// One bar: who, how much, how that is written, and its colour.
pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) text: String,
    pub(crate) colour: &'static str,
}

const LEFT: f64 = 290.0;
const WIDEST: f64 = 380.0;
const ROW: f64 = 30.0;

/// Panels one below the other, each with a title.
pub(crate) fn svg(panels: &[(String, Vec<Bar>)]) -> String {
    let mut body = String::new();
    let mut y = 0.0;
    for (title, bars) in panels {
        writeln!(body, "<text x=\"10\" y=\"{}\" font-size=\"16\">{title}</text>", y + 24.0)
            .unwrap();
        y += 40.0;
        let most = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
        for Bar { name, value, text, colour } in bars {
            let name = name.replace('`', "");
            let (width, middle) = ((value / most * WIDEST).max(1.0), y + 16.0);
            let behind = LEFT + width + 8.0;
            writeln!(body, "<text x=\"10\" y=\"{middle}\">{name}</text>").unwrap();
            writeln!(
                body,
                "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"22\" fill=\"{colour}\"/>"
            )
            .unwrap();
            writeln!(body, "<text x=\"{behind:.1}\" y=\"{middle}\">{text}</text>").unwrap();
            y += ROW;
        }
        y += 10.0;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"780\" height=\"{y}\" \
         font-family=\"sans-serif\" font-size=\"14\">\n\
         <rect width=\"780\" height=\"{y}\" fill=\"#fff\"/>\n{body}</svg>\n"
    )
}
