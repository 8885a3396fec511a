# shellcheck shell=sh disable=SC2034,SC2154 # the entry point and these files share their variables
# What nginx answers when no backend does.

waits=8 # how often a caller is asked to wait for the backend, some three seconds each time, before the apology

# First the caller is asked to wait, because a backend that was killed or is
# being replaced is back within seconds; then comes the apology. The URL that Twilio requests next contains how often
# the caller was asked, what the URL before contained, and the result of a <Dial>, which Twilio reports only once
# (backend/callgate/core/wire/twiml.py).
#
# Anybody can send such a request, because nginx can't check a signature. FALLBACK_DIAL is somebody's number, so only
# requests with the proof are told it: a secret in the addresses that the backend or scripts/setup.sh gave to Twilio,
# and to nobody else.
fallback_conf() {
  echo "map \$arg_proof \$proof_passed_on {"
  echo "default '';"
  for proof in $proofs; do echo "$proof '&amp;proof=$proof';"; done
  echo "}"
  # A stream's URL has no query; its proof stands before the token.
  echo "map \$uri \$stream_proof {"
  echo "default '';"
  for proof in $proofs; do echo "'~^/media-stream/$proof/' yes;"; done
  echo "}"
  echo "map \$arg_resumed \$resumed { default 0; '~^(?<times>[0-9])\$' \$times; }"
  echo "map \$arg_transfers \$transfers { default ''; '~^(?<put_through>[0-9]{1,2})\$' '&amp;transfers=\$put_through'; }"
  echo "map \$arg_sendings \$sendings { default ''; '~^(?<sent>[0-9]{1,2})\$' '&amp;sendings=\$sent'; }"
  statuses='(completed|answered|busy|no-answer|failed|canceled)'
  echo "map \$arg_dialed \$dialed_before { default ''; '~^(?<was>$statuses)\$' '&amp;dialed=\$was'; }"
  echo "map \$request_body \$dialed {"
  echo "default \$dialed_before;"
  echo "'~(^|&)DialCallStatus=(?<now>$statuses)(&|\$)' '&amp;dialed=\$now';"
  echo "}"
  echo "map \$proof_passed_on \$apology {"
  echo "default '$(apology_twiml "$fallback_dial")';"
  echo "'' '$(apology_twiml "")';"
  echo "}"
  echo "map \$arg_waited \$fallback_twiml {"
  echo "default \$apology;"
  echo "'' '$(wait_twiml 1)';"
  waited=1
  while [ "$waited" -lt "$waits" ]; do
    echo "$waited '$(wait_twiml $((waited + 1)))';"
    waited=$((waited + 1))
  done
  echo "}"
}

# What a caller hears. The backend says the same (ONE_MOMENT, SORRY, PUT_THROUGH and CALL_AGAIN of
# backend/callgate/core/wire/twiml.py); a test compares the two.
one_moment='One moment please.'
sorry='We are sorry, we are having technical difficulties.'
put_through='One moment please, you are being connected.'
call_again='Please call again in a few minutes.'

wait_twiml() { # wait_twiml TIMES
  twiml "<Say>$one_moment</Say><Pause length=\"1\"/><Redirect method=\"POST\">\$uri?resumed=\$resumed\$transfers\$sendings\$dialed\$proof_passed_on&amp;waited=$1</Redirect>"
}

apology_twiml() { # apology_twiml NUMBER: the number to ring; if it is empty, nobody is rung
  if [ -n "$1" ]; then
    twiml "<Say>$sorry $put_through</Say><Dial>$1</Dial>"
  else
    twiml "<Say>$sorry $call_again</Say><Hangup/>"
  fi
}

twiml() { # twiml VERBS
  printf '<?xml version="1.0" encoding="UTF-8"?><Response>%s</Response>' "$1"
}
