from hypothesis import settings

settings.register_profile("callgate", deadline=None)  # a busy machine is no fault of the code
settings.load_profile("callgate")
