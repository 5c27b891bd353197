//! A plot as inline SVG. By hand: plotting crates write pictures without a title, a description or classes, which neither a screen reader nor a
//! dark page can do anything with.

use std::fmt::Write as _;

use super::escape;

/// The plotting area within the picture, in user units: left, top, width, height.
const AREA: (f64, f64, f64, f64) = (64.0, 14.0, 340.0, 300.0);
/// The picture.
const SIZE: (f64, f64) = (420.0, 396.0);

/// A plot over axes from 0 to 1, marked in percent.
pub struct Plot {
    svg: String,
    /// The value at the right end of the x axis; it starts at 0.
    x_end: f64,
    /// Keys that were written.
    keys: u32,
}

/// How something is marked: by its shape as well as by its colour.
#[derive(Clone, Copy)]
pub enum Mark {
    /// A filled circle.
    Dot,
    /// A filled square.
    Square,
    /// A ring.
    Ring,
    /// A piece of line.
    Line,
}

impl Mark {
    fn svg(self, class: &str, x: f64, y: f64) -> String {
        match self {
            Self::Dot => format!("<circle class=\"dot {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\"/>"),
            Self::Square => {
                format!("<path class=\"dot {class}\" d=\"M{:.1} {:.1}h9v9h-9z\"/>", x - 4.5, y - 4.5)
            }
            Self::Ring => {
                format!("<circle class=\"line {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\"/>")
            }
            Self::Line => format!("<path class=\"line {class}\" d=\"M{:.1} {y:.1}h20\"/>", x - 10.0),
        }
    }
}

impl Plot {
    /// An empty plot; `id` is unique on the page.
    pub fn new(id: &str, title: &str, description: &str, x: &str, y: &str, x_end: f64) -> Self {
        let mut plot = Self { svg: opened(id, title, description, SIZE), x_end, keys: 0 };
        let (left, top, width, height) = AREA;
        for step in 0..=4 {
            let part = f64::from(step) / 4.0;
            let (px, py) = (left + part * width, top + (1.0 - part) * height);
            plot.write(format_args!(
                "<path class=\"grid\" d=\"M{left} {py}H{}M{px} {top}V{}\"/>",
                left + width,
                top + height
            ));
            plot.write(format_args!(
                "<text class=\"tick\" x=\"{px}\" y=\"{}\" text-anchor=\"middle\">{}</text>\
                 <text class=\"tick\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
                top + height + 18.0,
                percent(part * x_end),
                left - 8.0,
                py + 4.0,
                percent(part)
            ));
        }
        let (bottom, middle) = (top + height + 44.0, top + height / 2.0);
        plot.write(format_args!(
            "<text x=\"{}\" y=\"{bottom}\" text-anchor=\"middle\">{}</text>\
             <text transform=\"translate(16 {middle}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            left + width / 2.0,
            escape(x),
            escape(y)
        ));
        plot
    }

    fn write(&mut self, what: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.svg.write_fmt(what);
    }

    fn place(&self, [x, y]: [f64; 2]) -> (f64, f64) {
        let (left, top, width, height) = AREA;
        (left + x / self.x_end * width, top + (1.0 - y) * height)
    }

    /// A line through points, in the style of a class.
    pub fn line(&mut self, class: &str, points: &[[f64; 2]]) {
        let path: String = points
            .iter()
            .enumerate()
            .map(|(i, point)| {
                let (x, y) = self.place(*point);
                format!("{}{x:.1} {y:.1}", if i == 0 { 'M' } else { 'L' })
            })
            .collect();
        self.write(format_args!("<path class=\"line {class}\" d=\"{path}\"/>"));
    }

    /// A mark at a point.
    pub fn mark(&mut self, class: &str, mark: Mark, point: [f64; 2]) {
        let (x, y) = self.place(point);
        self.write(format_args!("{}", mark.svg(class, x, y)));
    }

    /// What a mark means, below the plot; marks themselves often lie too close for names.
    pub fn key(&mut self, class: &str, mark: Mark, name: &str) {
        let x = AREA.0 + 8.0 + f64::from(self.keys) * 105.0;
        let y = SIZE.1 - 10.0;
        self.keys += 1;
        self.write(format_args!(
            "{}<text x=\"{}\" y=\"{}\">{}</text>",
            mark.svg(class, x, y - 4.0),
            x + 16.0,
            y,
            escape(name)
        ));
    }

    /// An upright interval.
    pub fn interval(&mut self, class: &str, x: f64, low: f64, high: f64) {
        let ((px, from), (_, to)) = (self.place([x, low]), self.place([x, high]));
        self.write(format_args!("<path class=\"line {class}\" d=\"M{px:.1} {from:.1}V{to:.1}\"/>"));
    }

    /// The picture.
    pub fn finish(mut self) -> String {
        self.svg.push_str("</svg>");
        self.svg
    }
}

/// A row of a forest plot.
pub struct Row {
    /// What it is called.
    pub name: String,
    /// Its value and interval.
    pub value: Option<(f64, Option<(f64, f64)>)>,
    /// Whether it has few cases.
    pub small: bool,
}

/// A forest plot: values with intervals, one below the other, from `from` to 1; a dashed line marks `all`.
pub fn forest(id: &str, title: &str, description: &str, rows: &[Row], from: f64, all: Option<f64>) -> String {
    const ROW: f64 = 28.0;
    let (left, width) = (150.0, 250.0);
    let bottom = 12.0 + ROW * rows.len() as f64;
    let mut svg = opened(id, title, description, (SIZE.0, bottom + 50.0));
    let at = |v: f64| left + (v.max(from) - from) / (1.0 - from) * width;
    for step in 0..=4 {
        let value = from + (1.0 - from) * f64::from(step) / 4.0;
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{x:.1} 6V{bottom}\"/><text class=\"tick\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{value:.3}</text>",
            bottom + 18.0,
            x = at(value)
        );
    }
    if let Some(all) = all {
        let _ = write!(svg, "<path class=\"line chance\" d=\"M{0:.1} 6V{bottom}\"/>", at(all));
    }
    for (index, row) in rows.iter().enumerate() {
        let y = 10.0 + ROW * (index as f64 + 0.5);
        let class = if row.small { "small" } else { "first" };
        let name: String = row.name.chars().take(22).collect();
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            left - 10.0,
            y + 4.0,
            escape(&name)
        );
        let Some((value, interval)) = row.value else {
            let _ = write!(svg, "<text class=\"tick\" x=\"{left}\" y=\"{}\">not defined</text>", y + 4.0);
            continue;
        };
        if let Some((low, high)) = interval {
            let _ = write!(svg, "<path class=\"line {class}\" d=\"M{:.1} {y}H{:.1}\"/>", at(low), at(high));
        }
        let _ = write!(svg, "<circle class=\"dot {class}\" cx=\"{:.1}\" cy=\"{y}\" r=\"4.5\"/>", at(value));
    }
    let _ = write!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">AUROC</text></svg>",
        left + width / 2.0,
        bottom + 40.0
    );
    svg
}

fn opened(id: &str, title: &str, description: &str, (width, height): (f64, f64)) -> String {
    format!(
        "<svg role=\"img\" viewBox=\"0 0 {width} {height}\" aria-labelledby=\"{id}-title {id}-desc\">\
         <title id=\"{id}-title\">{}</title><desc id=\"{id}-desc\">{}</desc>",
        escape(title),
        escape(description)
    )
}

fn percent(value: f64) -> String {
    // Half per cents are the finest marks that an axis can have.
    let text = format!("{:.1}", value * 100.0);
    format!("{}%", text.trim_end_matches(".0"))
}
