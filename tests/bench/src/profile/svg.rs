//! A flame graph as an SVG picture: a box per function, as wide as it was seen often, on top of its caller. Pointing at a box
//! shows its name and share; a click makes it as wide as the picture, a click on the bottom shows everything again.

use std::fmt::Write;

use super::stacks::{Frame, GUEST, KERNEL, Profile, UNKNOWN};

const WIDTH: f64 = 1400.0;
const ROW: f64 = 17.0;
const HEAD: f64 = 30.0;
/// Of a letter of the font, about.
const LETTER: f64 = 6.6;
/// Boxes that are narrower are left out.
const NARROWEST: f64 = 0.2;

/// Draws a profile.
pub(crate) fn draw(title: &str, profile: &Profile) -> String {
    let mut boxes = Vec::new();
    place(&profile.root, "all", 0.0, 0, profile.samples, &mut boxes);
    let depth = boxes.iter().map(|place| place.depth).max().unwrap_or(0);
    let height = HEAD + ROW * (depth + 1) as f64 + 10.0;
    let mut svg = String::new();
    // Writing to a String cannot fail.
    let _ok = writeln!(
        svg,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" font-family="monospace" font-size="11">
<rect width="100%" height="100%" fill="#fff"/>
<text x="10" y="19" font-size="14">{} ({} samples)</text>"##,
        escaped(title),
        profile.samples
    );
    for place in &boxes {
        place.draw(height, profile.samples, &mut svg);
    }
    svg.push_str(SCRIPT);
    svg.push_str("</svg>\n");
    svg
}

/// A function's place in the picture; `left` and `width` as parts of the whole.
struct Placed<'a> {
    name: &'a str,
    samples: u64,
    left: f64,
    width: f64,
    depth: usize,
}

fn place<'a>(frame: &'a Frame, name: &'a str, left: f64, depth: usize, all: u64, boxes: &mut Vec<Placed<'a>>) {
    let width = frame.samples as f64 / all.max(1) as f64;
    if width * WIDTH < NARROWEST {
        return;
    }
    boxes.push(Placed { name, samples: frame.samples, left, width, depth });
    let mut at = left;
    for (name, callee) in &frame.callees {
        place(callee, name, at, depth + 1, all, boxes);
        at += callee.samples as f64 / all.max(1) as f64;
    }
}

impl Placed<'_> {
    fn draw(&self, height: f64, all: u64, svg: &mut String) {
        let (y, share) =
            (height - 10.0 - ROW * (self.depth + 1) as f64, self.samples as f64 * 100.0 / all.max(1) as f64);
        let (x, width) = (self.left * WIDTH, self.width * WIDTH);
        let letters = ((width - 4.0) / LETTER).max(0.0) as usize;
        let shown: String = if letters < 3 { String::new() } else { self.name.chars().take(letters).collect() };
        let _ok = writeln!(
            svg,
            r##"<g data-l="{:.6}" data-w="{:.6}" data-n="{name}"><title>{name}: {share:.2} %, {} samples</title><rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{}" fill="{}" rx="1"/><text x="{:.1}" y="{:.1}">{}</text></g>"##,
            self.left,
            self.width,
            self.samples,
            ROW - 1.0,
            self.color(),
            x + 2.0,
            y + 12.0,
            escaped(&shown),
            name = escaped(self.name),
        );
    }

    /// Guests are blue, the kernel is grey, the rest is orange; a name has one shade everywhere.
    fn color(&self) -> String {
        let shade = self.name.bytes().fold(7_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into())) % 50;
        if self.name.starts_with(GUEST) {
            format!("rgb({},{},240)", 110 + shade, 160 + shade)
        } else if self.name.starts_with(KERNEL) || self.name == UNKNOWN {
            format!("rgb({0},{0},{0})", 180 + shade)
        } else {
            format!("rgb(245,{},{})", 150 + shade, 80 + shade)
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Widens what was clicked at: everything keeps its place beside it, what lies under it fills the picture.
const SCRIPT: &str = r#"<script><![CDATA[
const width = 1400, letter = 6.6, boxes = [...document.querySelectorAll("g")];
function show(left, share) {
  for (const box of boxes) {
    const l = +box.dataset.l, w = +box.dataset.w;
    const from = Math.max((l - left) / share, 0), to = Math.min((l + w - left) / share, 1);
    box.style.display = to - from > 1e-5 ? "" : "none";
    const [rect, text] = [box.querySelector("rect"), box.querySelector("text")];
    rect.setAttribute("x", from * width);
    rect.setAttribute("width", Math.max(to - from, 0) * width);
    text.setAttribute("x", from * width + 2);
    const letters = Math.floor(((to - from) * width - 4) / letter);
    text.textContent = letters < 3 ? "" : box.dataset.n.slice(0, letters);
  }
}
for (const box of boxes) box.addEventListener("click", () => show(+box.dataset.l, +box.dataset.w));
]]></script>
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::stacks::parse;

    #[test]
    fn names_are_escaped_and_boxes_are_as_wide_as_their_share() {
        let text = "a 1/1 \n\t1 Vec<u8> (/a)\n\t2 main (/a)\n\na 1/1 \n\t2 main (/a)\n\n";
        let svg = draw("w1", &parse(text));
        assert!(svg.contains("<title>Vec&lt;u8&gt;: 50.00 %, 1 samples</title>"), "{svg}");
        assert!(svg.contains(r#"data-l="0.000000" data-w="0.500000" data-n="Vec&lt;u8&gt;""#), "{svg}");
        assert!(svg.contains("<title>main: 100.00 %, 2 samples</title>"), "{svg}");
    }
}
