use crate::boot::host::Host;

/// What firmware or hypervisor says of the machine.
#[derive(Debug, Default)]
pub struct Dmi {
    vendor: String,
    product_name: String,
    serial: String,
    asset_tag: String,
    /// Differs between machines: a copy of a disk on another machine is seen by it. Only root can read it.
    pub product_uuid: String,
    hypervisor_uuid: String,
    is_x86: bool,
}

/// A cloud with a metadata service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cloud {
    /// Amazon's, or one that imitates it.
    Ec2 {
        /// Amazon's own, which has tokens.
        is_aws: bool,
    },
    /// OpenStack.
    OpenStack,
    /// Google's.
    Gce,
    /// Microsoft's.
    Azure,
}

impl Cloud {
    /// cloud-init's name for its datasource.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ec2 { .. } => "Ec2",
            Self::OpenStack => "OpenStack",
            Self::Gce => "GCE",
            Self::Azure => "Azure",
        }
    }

    /// The cloud that a name in any case means, as on the kernel command line.
    pub fn of_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "ec2" => Some(Self::Ec2 { is_aws: true }),
            "openstack" => Some(Self::OpenStack),
            "gce" => Some(Self::Gce),
            "azure" => Some(Self::Azure),
            _ => None,
        }
    }
}

/// The asset tag of every machine of Azure.
const AZURE: &str = "7783-7084-3265-9085-8269-3286-77";
const OPENSTACK_TAGS: [&str; 6] = [
    "OpenTelekomCloud",
    "SAP CCloud VM",
    "HUAWEICLOUD",
    "Samsung Cloud Platform",
    "OpenStack Nova",
    "OpenStack Compute",
];

impl Dmi {
    /// Reads the files below `/sys`; in a container also what its manager put into the first process's environment.
    pub fn read(host: &Host) -> Self {
        let file = |path: &str| {
            let text = std::fs::read_to_string(host.sys(path)).unwrap_or_default();
            text.trim().to_owned()
        };
        let environment = std::fs::read(host.proc("1/environ")).unwrap_or_default();
        let of_container = environment.split(|byte| *byte == 0).find_map(|pair| pair.strip_prefix(b"product_name="));
        let product_name = match of_container {
            Some(name) => String::from_utf8_lossy(name).into_owned(),
            None => file("class/dmi/id/product_name"),
        };
        Self {
            vendor: file("class/dmi/id/sys_vendor"),
            product_name,
            serial: file("class/dmi/id/product_serial"),
            asset_tag: file("class/dmi/id/chassis_asset_tag"),
            product_uuid: file("class/dmi/id/product_uuid").to_ascii_lowercase(),
            hypervisor_uuid: file("hypervisor/uuid").to_ascii_lowercase(),
            is_x86: cfg!(target_arch = "x86_64"),
        }
    }

    /// The cloud that they point to; only then is its service asked.
    pub fn cloud(&self) -> Option<Cloud> {
        if self.asset_tag == AZURE {
            return Some(Cloud::Azure);
        }
        if self.product_name == "Google Compute Engine" || self.serial.starts_with("GoogleCloud-") {
            return Some(Cloud::Gce);
        }
        if self.is_ec2() {
            return Some(Cloud::Ec2 { is_aws: true });
        }
        if self.is_like_ec2() {
            return Some(Cloud::Ec2 { is_aws: false });
        }
        let is_nova = matches!(self.product_name.as_str(), "OpenStack Nova" | "OpenStack Compute");
        let is_tagged = OPENSTACK_TAGS.contains(&self.asset_tag.as_str());
        // Nova on other processors leaves the product's name to the firmware.
        let is_foundation = self.vendor == "OpenStack Foundation" && !self.is_x86;
        (is_nova || is_tagged || is_foundation).then_some(Cloud::OpenStack)
    }

    /// Also with the first three groups' bytes swapped, as SMBIOS 2.4 has them.
    fn is_ec2(&self) -> bool {
        let bytes = self.product_uuid.as_bytes();
        let swapped =
            bytes.len() > 7 && &bytes[6..8] == b"ec" && matches!(bytes[4], b'2') && bytes[5].is_ascii_hexdigit();
        self.hypervisor_uuid.starts_with("ec2")
            || self.vendor == "Amazon EC2"
            || self.product_uuid.starts_with("ec2")
            || swapped && self.serial.to_ascii_lowercase() == self.product_uuid
    }

    fn is_like_ec2(&self) -> bool {
        self.serial.ends_with(".brightbox.com")
            || self.asset_tag.ends_with(".zstack.io")
            || matches!(self.vendor.as_str(), "e24cloud" | "Tilaa")
            || self.vendor == "3DS Outscale" && self.product_name == "3DS Outscale VM"
    }
}

#[cfg(test)]
mod tests {
    use super::{AZURE, Cloud, Dmi};

    #[test]
    fn each_cloud_is_known_by_its_own_string() {
        let dmi = Dmi::default;
        for (dmi, expected) in [
            (Dmi { asset_tag: AZURE.into(), ..dmi() }, Some(Cloud::Azure)),
            (Dmi { product_name: "Google Compute Engine".into(), ..dmi() }, Some(Cloud::Gce)),
            (
                Dmi { product_uuid: "ec2a1b2c-0000-0000-0000-000000000000".into(), ..dmi() },
                Some(Cloud::Ec2 { is_aws: true }),
            ),
            (Dmi { vendor: "Amazon EC2".into(), ..dmi() }, Some(Cloud::Ec2 { is_aws: true })),
            (Dmi { serial: "srv-x.gb1.brightbox.com".into(), ..dmi() }, Some(Cloud::Ec2 { is_aws: false })),
            (Dmi { product_name: "OpenStack Nova".into(), ..dmi() }, Some(Cloud::OpenStack)),
            (Dmi { asset_tag: "OpenTelekomCloud".into(), ..dmi() }, Some(Cloud::OpenStack)),
            (Dmi { vendor: "QEMU".into(), product_name: "Standard PC".into(), ..dmi() }, None),
        ] {
            assert_eq!(dmi.cloud(), expected, "{dmi:?}");
        }
    }
}
