use super::sysfs::{Attribute, Column, Columns, Devices, Page, Row, Texts, Unit, integer, write};
use super::{CollectError, Collector, Roots, Scrape};
use crate::encode::{Family, Labels};
use hostwright_core::config::metrics::collectors::powersupplyclass as options;
use std::path::Path;

/// Numbers that are told as they are: the file, and the family where it has another name.
const PLAIN: [(&str, &str); 10] = [
    ("authentic", "authentic"),
    ("calibrate", "calibrate"),
    ("capacity", "capacity"),
    ("capacity_alert_max", "capacity_alert_max"),
    ("capacity_alert_min", "capacity_alert_min"),
    ("cycle_count", "cyclecount"),
    ("online", "online"),
    ("present", "present"),
    ("time_to_empty_now", "time_to_empty_seconds"),
    ("time_to_full_now", "time_to_full_seconds"),
];

/// Numbers in millionths of what they are told in.
const MILLIONTHS: [(&str, &str); 31] = [
    ("charge_control_limit", "charge_control_limit"),
    ("charge_control_limit_max", "charge_control_limit_max"),
    ("charge_counter", "charge_counter"),
    ("charge_empty", "charge_empty"),
    ("charge_empty_design", "charge_empty_design"),
    ("charge_full", "charge_full"),
    ("charge_full_design", "charge_full_design"),
    ("charge_now", "charge_ampere"),
    ("charge_term_current", "charge_term_current"),
    ("constant_charge_current", "constant_charge_current"),
    ("constant_charge_current_max", "constant_charge_current_max"),
    ("constant_charge_voltage", "constant_charge_voltage"),
    ("constant_charge_voltage_max", "constant_charge_voltage_max"),
    ("current_boot", "current_boot"),
    ("current_max", "current_max"),
    ("current_now", "current_ampere"),
    ("energy_empty", "energy_empty"),
    ("energy_empty_design", "energy_empty_design"),
    ("energy_full", "energy_full"),
    ("energy_full_design", "energy_full_design"),
    ("energy_now", "energy_watthour"),
    ("input_current_limit", "input_current_limit"),
    ("power_now", "power_watt"),
    ("precharge_current", "precharge_current"),
    ("voltage_boot", "voltage_boot"),
    ("voltage_max", "voltage_max"),
    ("voltage_max_design", "voltage_max_design"),
    ("voltage_min", "voltage_min"),
    ("voltage_min_design", "voltage_min_design"),
    ("voltage_now", "voltage_volt"),
    ("voltage_ocv", "voltage_ocv"),
];

/// Temperatures in tenths of a degree.
const TENTHS: [(&str, &str); 8] = [
    ("temp", "temp_celsius"),
    ("temp_alert_max", "temp_alert_max_celsius"),
    ("temp_alert_min", "temp_alert_min_celsius"),
    ("temp_ambient", "temp_ambient_celsius"),
    ("temp_ambient_max", "temp_ambient_max_celsius"),
    ("temp_ambient_min", "temp_ambient_min_celsius"),
    ("temp_max", "temp_max_celsius"),
    ("temp_min", "temp_min_celsius"),
];

/// Labels, each with the file of its value, where they have the same name.
const TEXTS: [&str; 11] = [
    "capacity_level",
    "charge_type",
    "health",
    "manufacturer",
    "model_name",
    "scope",
    "serial_number",
    "status",
    "technology",
    "type",
    "usb_type",
];

/// Batteries and mains.
pub struct Powersupplyclass {
    options: options::Powersupplyclass,
    supplies: Devices<(Row, Texts)>,
    columns: Vec<Column>,
    info: Family,
    page: Page,
}

impl Powersupplyclass {
    pub fn new(roots: &Roots, options: &options::Powersupplyclass) -> Self {
        let column = |(file, name): &(&'static str, &str), unit| {
            let help = format!("{name} value of /sys/class/power_supply/<power_supply>.");
            Column { file, family: Family::gauge(&format!("node_power_supply_{name}"), &help), unit }
        };
        let plain = PLAIN.iter().map(|names| column(names, Unit::One));
        let millionths = MILLIONTHS.iter().map(|names| column(names, Unit::Per(1e6)));
        let tenths = TENTHS.iter().map(|names| column(names, Unit::Per(10.0)));
        Self {
            options: options.clone(),
            supplies: Devices::new(roots.sysfs.join("class/power_supply")),
            columns: plain.chain(millionths).chain(tenths).collect(),
            info: Family::gauge("node_power_supply_info", "info of /sys/class/power_supply/<power_supply>."),
            page: Page::default(),
        }
    }
}

fn find(path: &Path, name: &[u8], columns: &[Column]) -> (Row, Texts) {
    let row = Row { labels: Labels::new(&[("power_supply", name)]), columns: Columns::new(path, columns) };
    let named = Texts::new(&[("power_supply", name)]).only_filled();
    (row, TEXTS.iter().fold(named, |texts, file| texts.with(file, Attribute::new(path.join(file)))))
}

impl Collector for Powersupplyclass {
    fn name(&self) -> &'static str {
        "powersupplyclass"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let taken = &self.options.supplies;
        self.supplies.refresh(|entry| taken.admits(&entry.name), |path, name| find(path, name, &self.columns))?;
        for (row, texts) in self.supplies.iter_mut() {
            row.columns.read(&mut self.page, |text| integer(text).map(|number| number as f64))?;
            texts.read(&mut self.page);
        }
        write(scrape.out, &self.columns, || self.supplies.iter().map(|(row, _)| row));
        let mut samples = scrape.out.family(&self.info);
        self.supplies.iter().for_each(|(_, texts)| samples.with(texts.labels(), true));
        Ok(())
    }
}
