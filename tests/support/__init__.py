"""What the tests share: peers, services, and what looks at the project itself."""
