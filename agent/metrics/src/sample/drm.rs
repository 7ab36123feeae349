use super::sysfs::{Attribute, Column, Columns, Devices, Page, Row, Texts, Unit, required, unsigned, write};
use super::{CollectError, Collector, Roots, Scrape};
use crate::encode::{Family, Labels};
use std::path::Path;

/// The driver of the cards that are told.
const DRIVER: &[u8] = b"DRIVER=amdgpu";

/// Graphics cards of AMD.
pub struct Drm {
    cards: Devices<Card>,
    columns: Vec<Column>,
    info: Family,
    page: Page,
}

struct Card {
    driver: Attribute,
    row: Row,
    texts: Texts,
    is_told: bool,
}

impl Drm {
    pub fn new(roots: &Roots) -> Self {
        let column = |file, name: &str, help: &str| Column {
            file,
            family: Family::gauge(&format!("node_drm_{name}"), help),
            unit: Unit::One,
        };
        Self {
            cards: Devices::new(roots.sysfs.join("class/drm")),
            columns: vec![
                column("device/gpu_busy_percent", "gpu_busy_percent", "How busy the GPU is as a percentage."),
                column(
                    "device/mem_info_gtt_total",
                    "memory_gtt_size_bytes",
                    "The size of the graphics translation table (GTT) block in bytes.",
                ),
                column(
                    "device/mem_info_gtt_used",
                    "memory_gtt_used_bytes",
                    "The used amount of the graphics translation table (GTT) block in bytes.",
                ),
                column(
                    "device/mem_info_vis_vram_total",
                    "memory_vis_vram_size_bytes",
                    "The size of visible VRAM in bytes.",
                ),
                column(
                    "device/mem_info_vis_vram_used",
                    "memory_vis_vram_used_bytes",
                    "The used amount of visible VRAM in bytes.",
                ),
                column("device/mem_info_vram_total", "memory_vram_size_bytes", "The size of VRAM in bytes."),
                column("device/mem_info_vram_used", "memory_vram_used_bytes", "The used amount of VRAM in bytes."),
            ],
            info: Family::gauge("node_drm_card_info", "Card information"),
            page: Page::default(),
        }
    }
}

impl Card {
    fn new(path: &Path, name: &[u8], columns: &[Column]) -> Self {
        let file = |name: &str| Attribute::new(path.join("device").join(name));
        Self {
            driver: file("uevent"),
            row: Row { labels: Labels::new(&[("card", name)]), columns: Columns::new(path, columns) },
            texts: Texts::new(&[("card", name), ("vendor", b"amd")])
                .with("memory_vendor", file("mem_info_vram_vendor"))
                .with("power_performance_level", file("power_dpm_force_performance_level"))
                .with("unique_id", file("unique_id")),
            is_told: false,
        }
    }

    fn read(&mut self, page: &mut Page) -> Result<(), CollectError> {
        self.is_told = memchr::memmem::find(required(&mut self.driver, page)?, DRIVER).is_some();
        if self.is_told {
            self.row.columns.read(page, |text| unsigned(text).map(|number| number as f64))?;
            // What a card does not tell is 0, as in the original.
            self.row.columns.values().iter_mut().for_each(|value| *value = value.or(Some(0.0)));
            self.texts.read(page);
        }
        Ok(())
    }
}

/// `card0`, and neither `card0-HDMI-A-1`, which is a socket of it, nor `card10`, which the original passes over.
fn is_card(name: &[u8]) -> bool {
    matches!(name.strip_prefix(b"card"), Some([digit]) if digit.is_ascii_digit())
}

impl Collector for Drm {
    fn name(&self) -> &'static str {
        "drm"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let found = self.cards.refresh(|entry| is_card(&entry.name), |path, name| Card::new(path, name, &self.columns));
        // A host without any has none to tell of, which is an answer.
        match found {
            Err(CollectError::NoData { .. }) => return Ok(()),
            found => found?,
        };
        self.cards.iter_mut().try_for_each(|card| card.read(&mut self.page))?;
        let told = || self.cards.iter().filter(|card| card.is_told);
        let mut samples = scrape.out.family(&self.info);
        told().for_each(|card| samples.with(card.texts.labels(), true));
        write(scrape.out, &self.columns, || told().map(|card| &card.row));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::is_card;

    #[test]
    fn cards_are_told_from_their_sockets() {
        assert!(is_card(b"card0") && !is_card(b"card0-DP-1") && !is_card(b"card") && !is_card(b"renderD128"));
    }
}
