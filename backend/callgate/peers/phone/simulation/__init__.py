"""What Twilio and a caller do in a call, frame by frame and verb by verb. Pure."""
