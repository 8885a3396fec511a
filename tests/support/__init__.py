"""What tests share: peers, services, and checks of the project itself."""
