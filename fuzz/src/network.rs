//! The bootstrap's modules that make files of a description of the network.

#[path = "../../bootstrap/src/boot/network/address.rs"]
pub mod address;
#[path = "../../bootstrap/src/boot/network/ifupdown.rs"]
pub mod ifupdown;
#[path = "../../bootstrap/src/boot/network/keyfile.rs"]
pub mod keyfile;
#[path = "../../bootstrap/src/boot/network/netdev.rs"]
pub mod netdev;
#[path = "../../bootstrap/src/boot/network/netplan.rs"]
pub mod netplan;
#[path = "../../bootstrap/src/boot/network/network_data.rs"]
pub mod network_data;
#[path = "../../bootstrap/src/boot/network/networkd.rs"]
pub mod networkd;
#[path = "../../bootstrap/src/boot/network/sections.rs"]
pub mod sections;
#[path = "../../bootstrap/src/boot/network/state.rs"]
pub mod state;
#[path = "../../bootstrap/src/boot/network/version_1.rs"]
pub mod version_1;
#[path = "../../bootstrap/src/boot/network/version_2.rs"]
pub mod version_2;

/// A machine's interfaces, without the machine.
pub mod interfaces {
    #[derive(Default)]
    pub struct Interfaces(pub Vec<(String, String)>);

    impl Interfaces {
        pub fn name_of(&self, mac: &str) -> Option<&str> {
            self.0.iter().find(|(_, address)| address.eq_ignore_ascii_case(mac)).map(|(name, _)| name.as_str())
        }
    }
}
