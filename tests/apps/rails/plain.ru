# Nothing here depends on the scheme.
require 'action_controller/railtie'

class Clock < Rails::Application
  config.root = __dir__
  config.secret_key_base = 'only-for-tests' * 8
  config.eager_load = false
  config.logger = Logger.new($stderr)
  config.hosts.clear
end
Clock.initialize!

Clock.routes.draw do
  root to: 'clock#index'
  get '/time', to: 'clock#time'
end

class ClockController < ActionController::Base
  def index
    render html: '<!doctype html><title>Clock</title><a href="/time">time</a>'.html_safe
  end

  def time
    render plain: 'noon'
  end
end

run Clock
