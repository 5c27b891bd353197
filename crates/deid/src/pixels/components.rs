//! A map of how much each pixel looks like text → boxes around what does.

/// A box in pixels of the map, half open, and how sure the map is inside it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) left: usize,
    pub(crate) top: usize,
    pub(crate) right: usize,
    pub(crate) bottom: usize,
    /// Mean of the map over the component, 0 to 1.
    pub(crate) score: f32,
}

impl Found {
    /// The shorter side.
    pub(crate) fn thickness(&self) -> usize {
        (self.right - self.left).min(self.bottom - self.top)
    }
}

/// The 8-connected components of a map where it exceeds a threshold.
pub(crate) fn components(map: &[f32], width: usize, threshold: f32) -> Vec<Found> {
    let height = map.len().checked_div(width).unwrap_or(0);
    let mut seen: Vec<bool> = map.iter().map(|v| *v <= threshold).collect();
    let mut found = Vec::new();
    let mut stack = Vec::new();
    for start in 0..width * height {
        if seen[start] {
            continue;
        }
        seen[start] = true;
        stack.push(start);
        let (mut left, mut top, mut right, mut bottom) = (width, height, 0, 0);
        let (mut sum, mut count) = (0.0f64, 0u32);
        while let Some(at) = stack.pop() {
            let (x, y) = (at % width, at / width);
            (left, right) = (left.min(x), right.max(x + 1));
            (top, bottom) = (top.min(y), bottom.max(y + 1));
            sum += f64::from(map[at]);
            count += 1;
            for ny in y.saturating_sub(1)..(y + 2).min(height) {
                for nx in x.saturating_sub(1)..(x + 2).min(width) {
                    let next = ny * width + nx;
                    if !std::mem::replace(&mut seen[next], true) {
                        stack.push(next);
                    }
                }
            }
        }
        found.push(Found { left, top, right, bottom, score: (sum / f64::from(count)) as f32 });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_touch_at_corners_too() {
        #[rustfmt::skip]
        let map = [
            0.9, 0.0, 0.0, 0.0,
            0.0, 0.7, 0.0, 0.5,
            0.0, 0.0, 0.0, 0.5,
        ];
        let found = components(&map, 4, 0.3);
        let boxes: Vec<_> = found.iter().map(|f| [f.left, f.top, f.right, f.bottom]).collect();
        assert_eq!(boxes, [[0, 0, 2, 2], [3, 1, 4, 3]]);
        assert!((found[0].score - 0.8).abs() < 1e-6);
        assert_eq!(found[1].thickness(), 1);
        assert!(components(&[], 0, 0.3).is_empty());
    }
}
